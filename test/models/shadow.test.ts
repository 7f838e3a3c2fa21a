import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises'
import { createServing, ServingError } from 'mlserving'
import { expect, onTestFinished, test } from 'vitest'
import { sharedPermits } from '../../src/execution/permits.js'
import type { RequestOutcome, ShadowComparison } from '../../src/models/outcomes.js'
import { Shadow, type ShadowResult } from '../../src/models/shadow.js'
import { systemClock } from '../../src/clock.js'
import type { AnyServing } from '../../src/serving.js'
import { asAny, Gate } from '../contract/serving.js'
import { identityModel } from '../onnx/models.js'
import { quietLogger } from './quiet-logger.js'
import { temporaryRepository } from './temporary-repository.js'
import { versionsOfCode } from './versions-of-code.js'

const shadowOf = (serving: AnyServing) => serving.models.get('m').shadow
const stateOf = (serving: AnyServing, version: string) =>
  serving.models.get('m').versions.find((each) => each.version === version)?.state

async function ask(serving: AnyServing, inputs: Iterable<unknown>): Promise<unknown[]> {
  const answers: unknown[] = []
  for (const input of inputs) answers.push((await serving.predict('m', input)).prediction)
  return answers
}

test('a shadow is given copies of what the current version answers, and its answers are compared', async () => {
  const { serving } = versionsOfCode((version, input: number) =>
    version === '2' && input % 2 === 1 ? input + 0.5 : input,
  )
  await serving.models.shadow('m', { version: '2', fraction: 1, maxPending: 100 })
  expect(await ask(serving, [0, 1, 2, 3, 4])).toEqual([0, 1, 2, 3, 4])
  await expect
    .poll(() => shadowOf(serving))
    .toMatchObject({ version: '2', fraction: 1, agreed: 3, disagreed: 2 })
  expect(shadowOf(serving)).toMatchObject({
    failed: 0,
    dropped: 0,
    skipped: 0,
    meanDistance: 0.2,
    maxDistance: 0.5,
  })

  const { body } = await serving.metrics.exposition()
  expect(body.split('\n')).toEqual(
    expect.arrayContaining([
      'model_shadow_requests_total{model="m",model_version="2",result="agreed"} 3',
      'model_shadow_requests_total{model="m",model_version="2",result="disagreed"} 2',
      'model_shadow_distance_sum{model="m",model_version="2"} 1',
      'model_shadow_distance_count{model="m",model_version="2"} 5',
      'model_shadow_latency_seconds_count{model="m",model_version="2"} 5',
    ]),
  )
  // Nobody asked for them.
  expect(body).not.toMatch(/^model_requests_total\{model="m",model_version="2"/m)
})

test('a version in a worker thread is shadowed between the runs of the one that serves', async () => {
  const folder = temporaryRepository({
    'm/1/model.onnx': identityModel(),
    'm/2/model.onnx': identityModel(),
    'm/model.json': { current: '1', placement: 'thread' },
  })
  const serving = asAny(createServing({ repository: folder, logger: quietLogger() }))
  onTestFinished(() => serving.close())
  await serving.models.shadow('m', { version: '2', fraction: 1, maxPending: 100 })
  while ((shadowOf(serving)?.agreed ?? 0) < 5) {
    await serving.predict('m', { x: [1, 2, 3] })
    await sleep(1)
  }
  expect(shadowOf(serving)).toMatchObject({ disagreed: 0, failed: 0, maxDistance: 0 })
})

test('a shadow that never answers delays nobody, and no more copies are kept than may be', async () => {
  const gate = new Gate()
  const { serving } = versionsOfCode(async (version) => {
    if (version === '2') await gate.opened
    return 'same'
  })
  await serving.models.shadow('m', { version: '2', fraction: 1, maxPending: 3 })
  for (let i = 0; i < 20; i++) {
    await serving.predict('m', i)
    await turn()
  }
  expect(shadowOf(serving)).toMatchObject({ agreed: 0, dropped: 17 })
  gate.open()
  await expect.poll(() => shadowOf(serving)?.agreed).toBe(3)
  await ask(serving, ['another'])
  await expect.poll(() => shadowOf(serving)?.agreed).toBe(4)
})

test("a shadow's errors are counted, the first is logged, and no caller has one", async () => {
  const { serving, logger } = versionsOfCode((version) => {
    if (version === '2') throw new Error('not today')
    return version
  })
  await serving.models.shadow('m', { version: '2', fraction: 1 })
  expect(await ask(serving, [1, 2, 3])).toEqual(['1', '1', '1'])
  await expect.poll(() => shadowOf(serving)?.failed).toBe(3)
  const told = logger.entries.filter(({ message }) => message.startsWith('m@2: the shadow failed: '))
  expect(told.map(({ level }) => level)).toEqual(['warn', 'debug', 'debug'])
})

test('no copy is run while all permits are taken', async () => {
  const { serving } = versionsOfCode()
  await serving.models.shadow('m', { version: '2', fraction: 1 })
  const permits = sharedPermits()
  const taken = await permits.take(permits.total)
  onTestFinished(() => {
    if (permits.available === 0) permits.release(taken)
  })
  await ask(serving, [1, 2])
  await expect.poll(() => shadowOf(serving)?.skipped).toBe(2)
  permits.release(taken)
  await ask(serving, [3])
  await expect.poll(() => shadowOf(serving)?.disagreed).toBe(1)
})

test('no copy is run while requests wait', async () => {
  const gates = new Map(['a', 'b', 'c'].map((name) => [name, new Gate()]))
  const ran: string[] = []
  const { serving } = versionsOfCode(
    async (version, name: string) => {
      if (version === '1') await gates.get(name)?.opened
      else ran.push(name)
      return name
    },
    { concurrency: 1 },
  )
  await serving.models.shadow('m', { version: '2', fraction: 1 })
  const answers = ['a', 'b', 'c'].map((name) => serving.predict('m', name))
  gates.get('a')?.open()
  await answers[0]
  await expect.poll(() => shadowOf(serving)?.skipped).toBe(1) // c waits for b
  gates.get('b')?.open()
  gates.get('c')?.open()
  await Promise.all(answers)
  await expect.poll(() => ran).toContain('c')
  expect(ran).not.toContain('a')
})

test('what the caller changes after the call, of the input or of the answer, changes no comparison', async () => {
  const given: string[] = []
  const { serving } = versionsOfCode((version, input: { readonly list: number[] }) => {
    if (version === '2') given.push(JSON.stringify(input))
    return { list: [...input.list] }
  })
  await serving.models.shadow('m', { version: '2', fraction: 1 })
  const input = { list: [1, 2] }
  const asked = serving.predict('m', input)
  input.list.push(3)
  ;((await asked).prediction as typeof input).list.push(4)
  await expect.poll(() => shadowOf(serving)?.agreed).toBe(1)
  expect(given).toEqual(['{"list":[1,2]}'])
})

test('copies neither ask the cache nor fill it', async () => {
  const runs: string[] = []
  const { serving } = versionsOfCode(
    (version) => {
      runs.push(version)
      return 'same'
    },
    { cache: true },
  )
  await serving.models.shadow('m', { version: '2', fraction: 1 })
  await ask(serving, ['x', 'x', 'x'])
  await expect.poll(() => shadowOf(serving)?.agreed).toBe(3)
  expect(runs.sort()).toEqual(['1', '2', '2', '2'])
  const cacheOf2 = [...serving.models.status()].find(({ version }) => version === '2')?.cache
  expect(cacheOf2).toMatchObject({ hits: 0, misses: 0, bytes: 0 })
})

test('only answers of the current version are compared: none of a canary, none that failed', async () => {
  const { serving } = versionsOfCode((version, input: number) => {
    if (input < 0) throw new ServingError('INFERENCE_FAILED', 'negative')
    return version
  })
  await serving.models.shadow('m', { version: '3', fraction: 1, maxPending: 1 })
  await serving.models.canary('m', { version: '2', percent: 100 })
  expect(await ask(serving, [1, 2])).toEqual(['2', '2'])
  await serving.models.endCanary('m')
  await expect(serving.predict('m', -1)).rejects.toMatchObject({ code: 'INFERENCE_FAILED' })
  await serving.predict('m', 3, { version: '2' }).catch(() => {})
  await turn()
  const { agreed, disagreed, failed, dropped } = shadowOf(serving) ?? {}
  expect({ agreed, disagreed, failed, dropped }).toEqual({ agreed: 0, disagreed: 0, failed: 0, dropped: 0 })
  await ask(serving, [3]) // the place is free again
  await expect.poll(() => shadowOf(serving)?.disagreed).toBe(1)
})

test('endShadow ends the copies under way, and frees what was loaded for it', async () => {
  const gate = new Gate()
  const { serving } = versionsOfCode(async (version) => {
    if (version === '2') await gate.opened
    return version
  })
  onTestFinished(() => gate.open())
  await serving.models.shadow('m', { version: '2', fraction: 1 })
  await expect(serving.models.unload('m', '2')).rejects.toMatchObject({
    code: 'CONFLICT',
    message: "m@2 can't be unloaded: it is the shadow: end that first.",
  })
  await ask(serving, [1])
  await turn()
  expect((await serving.models.endShadow('m')).shadow).toBeUndefined()
  gate.open()
  await expect.poll(() => stateOf(serving, '2')).toBe('unloaded')
  await ask(serving, [2])
})

test('a version that is switched to is no shadow any more, and one that serves can be none', async () => {
  const { serving } = versionsOfCode()
  await serving.models.shadow('m', { version: '2', fraction: 1 })
  expect((await serving.models.switchVersion('m', '2')).shadow).toBeUndefined()
  await expect(serving.models.shadow('m', { version: '2', fraction: 1 })).rejects.toMatchObject({
    code: 'CONFLICT',
    message: 'm@2 serves: the shadow must be another version.',
  })
})

test.each([
  [{ version: '2', fraction: 0 }, 'fraction must be a number above 0, up to 1'],
  [{ version: '2', fraction: 5 }, 'fraction must be a number above 0, up to 1'],
  [{ version: '2' }, 'fraction is missing'],
  [{ version: '2', fraction: 1, maxPending: 0 }, 'maxPending must be an integer from 1'],
  [
    { version: '2', fraction: 1, compare: { tolerance: -1 } },
    'compare: tolerance must be a number of at least 0',
  ],
])('%j is no shadow', async (options, message) => {
  const { serving } = versionsOfCode()
  await serving.ready()
  await expect(serving.models.shadow('m', options as never)).rejects.toMatchObject({
    code: 'INVALID_OPTIONS',
    message: expect.stringContaining(message) as string,
  })
})

test('a fraction of the requests is copied, drawn for each', () => {
  const draws = [0.09, 0.1, 0.5, 0]
  const told: ShadowResult[] = []
  const shadow = new Shadow(
    { version: '2', fraction: 0.1 },
    {
      clock: systemClock,
      random: () => draws.shift() ?? 1,
      current: () => '1',
      leaseIfIdle: () => undefined,
      within: (_, promise) => promise,
      tell: (_, result) => void told.push(result),
      failed: () => {},
    },
  )
  expect([1, 2, 3, 4].map((input) => shadow.sample(input) !== undefined)).toEqual([true, false, false, true])
  expect(told).toEqual([])
})

test('a listener is told of answers, of failures that are not the callers, and of comparisons', async () => {
  const { serving } = versionsOfCode((version, input: string) => {
    if (input === 'bad') throw new ServingError('INVALID_INPUT', 'no such row')
    if (input === 'down') throw new Error('down')
    return version
  })
  await serving.ready()
  expect(serving.models.outcomes).toBeUndefined()
  const outcomes: RequestOutcome[] = []
  const comparisons: ShadowComparison[] = []
  const end = serving.models.onOutcome('m', {
    answered: (outcome) => outcomes.push(outcome),
    compared: (comparison) => comparisons.push(comparison),
  })
  await serving.models.shadow('m', { version: '2', fraction: 1 })
  await ask(serving, ['good'])
  for (const input of ['bad', 'down']) await expect(serving.predict('m', input)).rejects.toThrow()
  expect(outcomes).toMatchObject([
    { version: '1', status: 'ok', isCached: false },
    { version: '1', status: 'error' },
  ])
  expect(outcomes.every(({ latencyMs }) => latencyMs >= 0)).toBe(true)
  await expect.poll(() => comparisons).toEqual([{ version: '2', agree: false, distance: undefined }])

  end()
  expect(serving.models.outcomes).toBeUndefined()
  await ask(serving, ['good'])
  expect(outcomes).toHaveLength(2)
})

test('a listener of outcomes that throws costs no request its answer, and is logged', async () => {
  const { serving, logger } = versionsOfCode((version) => version)
  await serving.ready()
  serving.models.onOutcome('m', {
    answered: () => {
      throw new Error('full')
    },
  })
  expect(await ask(serving, ['good'])).toEqual(['1'])
  expect(logger.entries.filter(({ level }) => level === 'error')).toMatchObject([
    { message: 'a listener of the outcomes of m failed' },
  ])
})
