import { setTimeout as sleep } from 'node:timers/promises'
import { createServing, custom } from 'mlserving'
import { expect, onTestFinished, test } from 'vitest'
import { quietLogger } from '../models/quiet-logger.js'
import { temporaryRepository } from '../models/temporary-repository.js'

/** A replica whose model sleeps until it is asked. */
function sleeping(stateDir: string, versions: readonly string[] = ['1', '2', '3']) {
  const loaded: string[] = []
  const serving = createServing({
    models: {
      m: custom({
        source: temporaryRepository(Object.fromEntries(versions.map((version) => [`${version}/x`, '']))),
        current: '1',
        lazy: true,
        load: ({ version }) => {
          loaded.push(version)
          return version
        },
        run: (version, rows: number[]) => rows.map(() => version),
      }),
    },
    stateDir,
    replicas: { intervalMs: 20, deadAfterIntervals: 1000, waitMs: 200 },
    logger: quietLogger(),
  })
  onTestFinished(() => serving.close())
  const ask = async () => (await serving.predict('m', 1)).prediction
  return { models: serving.models, ask, loaded }
}

test('what is decided does not wake a model, and holds once a request does', async () => {
  const stateDir = temporaryRepository({})
  const [a, b] = [sleeping(stateDir), sleeping(stateDir)]
  await a.ask()
  await a.models.canary('m', { version: '2', percent: 100 })
  await a.models.setLabel('m', 'stable', '1')
  await a.models.quarantine('m', '3', 'slow')
  await expect.poll(() => b.models.get('m').versions[0]).toMatchObject({ version: '3', quarantined: 'slow' })
  await sleep(60)
  expect(b.loaded).toEqual([])
  await b.ask()
  await expect
    .poll(() => b.models.get('m'))
    .toMatchObject({
      current: '1',
      labels: { stable: '1' },
      canary: { version: '2', percent: 100 },
    })
  await expect.poll(b.ask).toBe('2')
})

test('a switch that comes to nothing leaves a model that slept with what is to serve', async () => {
  const stateDir = temporaryRepository({})
  const [a, b, lacking] = [sleeping(stateDir), sleeping(stateDir), sleeping(stateDir, ['1'])]
  await Promise.all([a.ask(), lacking.ask(), b.models.listed()])
  const isAwake = async () =>
    (await a.models.replicas?.live())?.filter(({ models }) => models.m?.current === '1')
  await expect.poll(isAwake).toHaveLength(2)
  await expect(a.models.switchVersion('m', '2')).rejects.toMatchObject({ code: 'TIMEOUT' })
  await expect.poll(() => b.loaded).toEqual(['1', '2'])
  expect(b.models.get('m').current).toBe('1')
  expect(await b.ask()).toBe('1')
})
