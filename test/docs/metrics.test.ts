import { readFileSync } from 'node:fs'
import { createServing, custom, onnx, scored, ServingError } from 'mlserving'
import { expect, onTestFinished, test } from 'vitest'
import { quietLogger } from '../models/quiet-logger.js'
import { temporaryRepository } from '../models/temporary-repository.js'

/** Metric, type and labels, as docs/deployment-notes.md has them. */
function documented(): string[] {
  const page = readFileSync(new URL('../../docs/deployment-notes.md', import.meta.url), 'utf8')
  const section = page.split('## Metrics')[1]?.split('\n## ')[0] ?? ''
  const rows = section.split('\n').filter((line) => /^\|\s*`/.test(line))
  return rows.map((row) => {
    const [, name = '', type = '', labels = ''] = row.replaceAll('`', '').split('|')
    const sorted = labels.split(',').map((label) => label.trim())
    return `${name.trim()} ${type.trim()} ${sorted.sort().join(' ')}`
  })
}

/** The same of an exposition. */
function exposed(text: string): string[] {
  const types = [...text.matchAll(/^# TYPE (\w+) (\w+)$/gm)]
  return types.map(([, name = '', type = '']) => {
    const sample = new RegExp(`^${name}(?:_bucket)?\\{(.*)\\} `, 'm').exec(text)?.[1] ?? ''
    const labels = [...sample.matchAll(/(\w+)="/g)].map(([, label = '']) => label)
    const own = labels.filter((label) => label !== 'le')
    return `${name} ${type} ${own.sort().join(' ')}`
  })
}

test('docs/deployment-notes.md lists the metrics that there are after traffic, with their labels', async () => {
  const serving = createServing({
    models: {
      versions: custom({
        source: temporaryRepository({ '1/about': '', '2/about': '' }),
        load: ({ version }) => Number(version),
        run: (version, rows: string[]) => rows.map(() => version),
      }),
      m: custom({
        cache: true,
        load: () => 0.5,
        stream: () => [1],
        run: (confidence, rows: string[]) => {
          if (rows.includes('busy')) throw new ServingError('QUEUE_FULL', 'busy')
          return rows.map(() => scored('yes', confidence))
        },
      }),
      unloadable: custom({
        load: () => {
          throw new Error('a test')
        },
        run: () => [],
      }),
      misconfigured: onnx({ source: temporaryRepository({ 'model.json': '{' }) }),
    },
    logger: quietLogger(),
  })
  onTestFinished(() => serving.close())
  await expect(serving.ready()).rejects.toMatchObject({ code: 'MODEL_NOT_READY' })
  for (const input of ['a', 'a', 'b', 'c', 'd']) await serving.predict('m', input)
  for await (const item of serving.predictStream('m', 'e')) expect(item).toBe(1)
  await expect(serving.predict('m', 'busy')).rejects.toMatchObject({ code: 'QUEUE_FULL' })
  await serving.models.shadow('versions', { version: '1', fraction: 1 })
  await serving.predict('versions', 'a')
  await expect.poll(() => serving.models.get('versions').shadow?.disagreed).toBe(1)
  await serving.models.startRollout('versions', { version: '1' })
  await serving.models.abortRollout('versions')
  await serving.models.startRollout('versions', { version: '1' })
  await expect.poll(() => serving.models.get('versions').canary).toEqual({ version: '1', percent: 5 })
  await serving.models.load('m', '1')

  const { body } = await serving.metrics.exposition()
  expect(documented().sort()).toEqual(exposed(body).sort())
})
