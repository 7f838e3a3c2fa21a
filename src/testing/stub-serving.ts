import type { Logger } from '../logger.js'
import type { Scored } from '../models/classification.js'
import type { Awaitable } from '../models/codec.js'
import { custom, type AnyModel } from '../models/definition.js'
import { createServing } from '../create-serving.js'
import type { At, In, Out, Serving } from '../serving.js'

/** What stands in for a model: its answer, a function that gives it, or the error that it fails with. */
export type Stub<I, O> = StubAnswer<O> | Error | ((input: I) => Awaitable<StubAnswer<O>>)

/** What `decode` would give. A classification may do without its scores. */
type StubAnswer<O> = O extends Scored<infer P> ? O | Scored<P> : O

/** A stub for each of a serving's models that the code under test asks. */
export type Stubs<S> =
  S extends Serving<infer M, infer N> ? { readonly [K in N]?: Stub<In<At<M, K>>, Out<At<M, K>>> } : never

const silent: Logger = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }

/**
 * A serving for tests of the code that asks one: its models answer as the test says, without artifacts and without
 * onnxruntime. Everything else is real: queues, limits, errors, metrics, and the doors of `mlserving/express` and
 * `mlserving/fastify` before it. A model that has no stub is not there.
 *
 * ```ts
 * const serving = stubServing<typeof realServing>({
 *   sentiment: ({ text }) => scored(text.includes('love') ? 'positive' : 'negative', 0.9),
 *   churn: new ServingError('QUEUE_FULL', 'busy'),
 * })
 * ```
 *
 * @throws ServingError INVALID_OPTIONS for a name that can name no model
 */
export function stubServing<S = Serving>(stubs: Stubs<S>): S {
  const models: Record<string, AnyModel> = {}
  for (const [name, stub] of Object.entries<unknown>(stubs)) {
    models[name] = custom({
      unchecked: true,
      load: () => stub,
      run: (given, rows: unknown[]) => Promise.all(rows.map((row) => answer(given, row))),
      stream: items,
    })
  }
  const serving: unknown = createServing({ models, logger: silent })
  return serving as S
}

/** What stands in for a model that answers item by item: the list that it would answer as a whole. */
async function* items(stub: unknown, input: unknown): AsyncGenerator {
  const whole = await answer(stub, input)
  if (Array.isArray(whole)) yield* whole as unknown[]
  else yield whole
}

async function answer(stub: unknown, input: unknown): Promise<unknown> {
  if (stub instanceof Error) throw stub
  return typeof stub === 'function' ? (stub as (input: unknown) => unknown)(input) : stub
}
