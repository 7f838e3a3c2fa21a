import { join } from 'node:path'
import { expect, it } from 'vitest'
import { readModelConfig, readVersionConfig } from '../../src/models/model-config.js'
import { temporaryRepository } from './temporary-repository.js'

const read = (content: string | object) =>
  readModelConfig(join(temporaryRepository({ 'model.json': content }), 'model.json'))

it('a model without a model.json has no options', async () => {
  expect(await readModelConfig(join(temporaryRepository({}), 'model.json'))).toEqual({})
})

it('a byte order mark does no harm', async () => {
  expect(await read('\uFEFF{"current": "2"}')).toEqual({ current: '2' })
})

it('the schema that a file names for editors is no option', async () => {
  const root = temporaryRepository({ 'model.json': { $schema: '../model.schema.json' } })
  expect(await readModelConfig(join(root, 'model.json'))).toEqual({})
  expect(await readVersionConfig(join(root, 'model.json'))).toEqual({})
})

it.each<[string | object, RegExp]>([
  ['{', /model\.json is not JSON/],
  ['[]', /model\.json: the value must be an object; got a list of 0/],
  [{ taks: {} }, /model\.json: unknown option "taks"\. Did you mean "task"\?/],
  [{ task: { type: 'regression' } }, /task: type must be one of "classification"; got "regression"/],
  [
    { task: { type: 'classification', output: 'p', clases: [] } },
    /task: unknown option "clases"\. Did you mean "classes"\?/,
  ],
  [{ placement: 'gpu' }, /placement must be one of "auto", "thread", "process", "inline"; got "gpu"/],
  [{ $schema: {} }, /\$schema must be a non-empty string; got an object/],
  [{ source: '/etc/passwd' }, /unknown option "source"/],
])('%j is refused with its path', async (content, message) => {
  await expect(read(content)).rejects.toMatchObject({
    code: 'INVALID_CONFIG',
    message: expect.stringMatching(message) as string,
  })
})

it('a version may override only the task', async () => {
  const root = temporaryRepository({ 'model.json': { placement: 'inline' } })
  await expect(readVersionConfig(join(root, 'model.json'))).rejects.toThrow(/unknown option "placement"/)
})
