import { symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { listModels, listVersions } from '../../src/models/repository.js'
import { temporaryRepository } from './temporary-repository.js'

it('a repository is folders of models; files, hidden folders and odd names are passed over', async () => {
  const root = temporaryRepository({
    'b/1/model.onnx': '',
    'a/1/model.onnx': '',
    '.git/x': '',
    'README.md': '',
    'no good/x': '',
  })
  expect([...(await listModels(root)).keys()]).toEqual(['a', 'b'])
})

it('a repository that is not there is told with its path and its form', async () => {
  const missing = join(temporaryRepository({}), 'models')
  await expect(listModels(missing)).rejects.toMatchObject({
    code: 'INVALID_OPTIONS',
    message: expect.stringMatching(
      /models could not be read: ENOENT.*<model>\/<version>\/model\.onnx/,
    ) as string,
  })
})

it('a version is a folder with model.onnx, or with one .onnx file', async () => {
  const root = temporaryRepository({
    '1/model.onnx': '',
    '1/other.onnx': '',
    '2/net.onnx': '',
    '3/notes.txt': '',
    'latest/model.onnx': '',
  })
  const versions = await listVersions(root)
  expect(versions.map(({ version, file }) => [version, file])).toEqual([
    ['1', join(root, '1/model.onnx')],
    ['2', join(root, '2/net.onnx')],
  ])
})

it('one .onnx file is version 1', async () => {
  const root = temporaryRepository({ 'churn.onnx': '' })
  expect(await listVersions(join(root, 'churn.onnx'))).toEqual([
    { version: '1', dir: root, file: join(root, 'churn.onnx') },
  ])
})

it('a linked folder is a version, as Kubernetes mounts them', async () => {
  const root = temporaryRepository({ '..data/1/model.onnx': '' })
  symlinkSync(join(root, '..data/1'), join(root, '1'))
  expect((await listVersions(root)).map(({ version }) => version)).toEqual(['1'])
})

it('a folder without versions is told what it should hold', async () => {
  await expect(listVersions(temporaryRepository({ 'notes.txt': '' }))).rejects.toMatchObject({
    code: 'INVALID_MODEL',
    message: expect.stringMatching(/holds no version; expected .*<version>.model\.onnx/) as string,
  })
})
