import fc from 'fast-check'
import { expect } from 'vitest'
import { createServing, ServingError, type AnyModel, type ErrorCode } from '../../src/index.js'
import { isServing, type AnyServing } from '../../src/serving.js'
import { quietLogger } from './quiet-logger.js'

/** What may happen to a model `m` with the versions 1 and 2, and 3, which can't be loaded. */
type Step =
  | { readonly do: 'predict'; readonly version: string; readonly abort: boolean }
  | { readonly do: 'load' | 'activate' | 'switch' | 'unload'; readonly version: string }
  | { readonly do: 'unloadAll' | 'rollback' | 'wait' | 'drain' | 'close' }

export interface History {
  readonly lazy: boolean
  readonly keepPrevious: number
  readonly steps: readonly Step[]
}

const version = fc.constantFrom('1', '2', '3')

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant('predict' as const),
      version: fc.constantFrom('latest', 'latest', '1', '2', '3'),
      abort: fc.boolean(),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({ do: fc.constantFrom('load', 'activate', 'switch', 'unload'), version }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constantFrom('unloadAll', 'rollback') }) },
  { weight: 4, arbitrary: fc.constant({ do: 'wait' } as const) },
  { weight: 1, arbitrary: fc.constantFrom({ do: 'drain' } as const, { do: 'close' } as const) },
)

export const history: fc.Arbitrary<History> = fc.record({
  lazy: fc.boolean(),
  keepPrevious: fc.nat(2),
  steps: fc.array(step, { minLength: 3, maxLength: 25 }),
})

/** How a request or a change may fail, given that anything may happen beside it. */
const expected: readonly ErrorCode[] = [
  'MODEL_NOT_READY',
  'VERSION_NOT_FOUND',
  'CONFLICT',
  'CLOSED',
  'ABORTED',
  'INVALID_MODEL',
]

/** Lives one history to its end, and checks that nothing was lost on the way and nothing is left. */
export async function live(model: AnyModel, { steps }: History): Promise<void> {
  const serving: unknown = createServing({ models: { m: model }, logger: quietLogger() })
  if (!isServing(serving)) throw new TypeError('not a serving')
  const open: Promise<unknown>[] = []
  const drains: Promise<void>[] = []
  for (const one of steps) {
    if (one.do === 'wait') await new Promise(setImmediate)
    else if (one.do === 'drain') drains.push(serving.drain())
    else if (one.do === 'predict') open.push(settled(serving, predict(serving, one.version, one.abort)))
    else open.push(settled(serving, acts[one.do](serving, 'version' in one ? one.version : '')))
  }
  await Promise.all(open)
  await Promise.all(drains)
  await serving.close()
  const { versions } = serving.models.get('m')
  expect(versions.filter(({ state }) => !['registered', 'unloaded'].includes(state))).toEqual([])
  expect([...serving.models.status()].map(({ inFlight }) => inFlight)).toEqual(versions.map(() => 0))
}

/** What each step asks for; those that ask for nothing are not among them. */
const acts = {
  load: (serving: AnyServing, version: string) => serving.models.load('m', version),
  activate: (serving: AnyServing, version: string) => serving.models.load('m', version, { activate: true }),
  switch: (serving: AnyServing, version: string) => serving.models.switchVersion('m', version),
  unload: (serving: AnyServing, version: string) => serving.models.unload('m', version),
  unloadAll: (serving: AnyServing) => serving.models.unload('m'),
  rollback: (serving: AnyServing) => serving.models.rollback('m'),
  close: (serving: AnyServing) => serving.close(),
}

async function predict(serving: AnyServing, version: string, abort: boolean): Promise<void> {
  const caller = new AbortController()
  const answer = serving.predict('m', { x: [1, 2, 3] }, { version, signal: caller.signal })
  if (abort) setImmediate(() => caller.abort())
  const { prediction, meta } = await answer
  expect(prediction).toEqual([1, 2, 3])
  if (version !== 'latest') expect(meta.version).toBe(version)
}

async function settled(serving: AnyServing, promise: Promise<unknown>): Promise<void> {
  try {
    await promise
  } catch (error) {
    if (!ServingError.is(error)) throw error
    expect(expected).toContain(error.code)
    // What was accepted before the close is answered.
    if (error.code === 'CLOSED') expect(serving.isClosed).toBe(true)
  }
}
