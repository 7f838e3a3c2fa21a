import type { BatchAnswer } from './batching/batch-run.js'
import { Demand } from './batching/demand.js'
import type { SubmitOptions } from './batching/batcher.js'
import { ServingError } from './errors.js'
import { ItemChannel } from './execution/item-channel.js'
import type { Lease } from './models/lease.js'
import { plainCopy } from './models/plain-copy.js'
import { callOf, failed, withDeadline, type Call, type PredictHost } from './predict.js'
import type { Fields } from './options.js'
import { predictFields, type PredictionMeta, type PredictOptions } from './prediction.js'

/** An answer item by item is never kept. */
export type PredictStreamOptions = Omit<PredictOptions, 'cache'>

const { cache: _, ...streamFields } = predictFields
export const predictStreamFields: Fields<PredictStreamOptions> = streamFields

/** How an answer item by item came about. */
export type StreamMeta = Pick<PredictionMeta, 'requestId' | 'model' | 'version' | 'queueMs'>

/**
 * An answer item by item. Each is made when it is asked for, the first with all that comes before: a stream that is
 * never read costs nothing.
 */
export interface PredictionStream<T> extends AsyncDisposable {
  /** Undefined before the first item is there. */
  readonly meta: StreamMeta | undefined
  /** @throws ServingError as `predict`; what the model's `stream` throws, as INFERENCE_FAILED */
  next(): Promise<IteratorResult<T, undefined>>
  /** Ends it, as `break` in a `for await` does, and waits until the model's code has ended as well. */
  return(): Promise<IteratorResult<T, undefined>>
  [Symbol.asyncIterator](): PredictionStream<T>
}

class ItemStream implements PredictionStream<unknown> {
  readonly #items = new ItemChannel()
  #call: StreamCall | undefined

  /** @param begin asks the model */
  constructor(private readonly begin: (items: ItemChannel) => StreamCall) {}

  get meta(): StreamMeta | undefined {
    return this.#call?.meta
  }

  async next(): Promise<IteratorResult<unknown, undefined>> {
    if (!this.#items.isOver) this.#call ??= this.begin(this.#items)
    const result = await this.#items.next()
    if (result.done !== true) this.#call?.gave()
    return result
  }

  async return(): Promise<IteratorResult<unknown, undefined>> {
    this.#items.end()
    this.#call?.leave()
    await this.#items.ended()
    return { value: undefined, done: true }
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return()
  }
}

/**
 * Asks a model for its answer item by item, on the path of every prediction but for its cache, fallback and shadow: the
 * version is held, and one of its runs taken, until the last item was given, whoever reads how slowly.
 */
export function predictStream(
  host: PredictHost,
  model: string,
  input: unknown,
  options: PredictStreamOptions = {},
): PredictionStream<unknown> {
  const { copy } = plainCopy(input)
  return new ItemStream((items) => new StreamCall(host, model, copy, callOf(options), items))
}

/** One call of a model whose answer comes item by item. */
class StreamCall {
  readonly #host: PredictHost
  readonly #model: string
  readonly #call: Call
  readonly #items: ItemChannel
  /** Abandoned when the reader leaves. */
  readonly #demand: Demand
  #lease: Lease | undefined
  #submittedAt = 0
  #firstItemMs: number | undefined

  constructor(host: PredictHost, model: string, input: unknown, call: Call, items: ItemChannel) {
    this.#host = host
    this.#model = model
    this.#call = call
    this.#items = items
    this.#demand = new Demand(call.limits.priority ?? 1)
    host.began()
    this.#run(input).then(
      (answer) => this.#answered(answer),
      (error: unknown) => this.#failed(error),
    )
  }

  get meta(): StreamMeta | undefined {
    const { beganAt } = this.#items
    if (this.#lease === undefined || beganAt === undefined) return undefined
    return {
      requestId: this.#call.requestId,
      model: this.#model,
      version: this.#lease.version,
      queueMs: beganAt - this.#submittedAt,
    }
  }

  /** The reader was given an item. */
  gave(): void {
    if (this.#firstItemMs !== undefined || this.meta === undefined) return
    this.#firstItemMs = performance.now() - this.#call.startedAt
    this.#host.metrics.firstItem(this.#model, this.meta.version, this.#firstItemMs)
  }

  /** The reader wants no more. */
  leave(): void {
    this.#demand.abandon()
  }

  /** Settles once the last item was given. */
  async #run(input: unknown): Promise<BatchAnswer<unknown>> {
    const { models, refusal } = this.#host
    const { options, startedAt } = this.#call
    let limits: SubmitOptions = { ...this.#call.limits, demand: this.#demand }
    if (refusal !== undefined) throw refusal
    const lease =
      models.tryLease(this.#model, options.version, false, options.key) ??
      (await models.lease(this.#model, options.version, limits, false, options.key))
    this.#lease = lease
    const { codec, streamed, timeoutMs, version } = lease
    if (timeoutMs !== undefined) limits = withDeadline(limits, startedAt + timeoutMs)
    if (streamed === undefined) throw noStream(this.#model, version)
    const encoding = codec.encode(input, options.signal)
    const encoded = encoding instanceof Promise ? await models.within(limits, encoding) : encoding
    this.#submittedAt = performance.now()
    return lease.batcher.submit(streamed(encoded, this.#items), limits)
  }

  #answered({ queueMs, computeMs }: BatchAnswer<unknown>): void {
    const { models, metrics } = this.#host
    const model = this.#model
    const version = this.#lease?.version ?? ''
    const now = performance.now()
    const latencyMs = now - this.#call.startedAt
    metrics.answered({ model, version, latencyMs, queueMs, computeMs }, now)
    // How long the rest took is the reader's doing as well.
    const ownMs = this.#firstItemMs ?? latencyMs
    models.outcomes?.answered(model, { version, status: 'ok', latencyMs: ownMs, isCached: false })
    this.#end()
  }

  #failed(cause: unknown): void {
    this.#end(failed(this.#host, this.#model, this.#lease?.version, this.#call, cause))
  }

  /** Gives everything back, and tells the reader. */
  #end(error?: ServingError): void {
    this.#lease?.release()
    this.#host.ended()
    this.#items.end(error)
  }
}

function noStream(model: string, version: string): ServingError {
  return new ServingError(
    'INVALID_REQUEST',
    `${model}@${version} has no answers item by item: that takes a custom model with \`stream\`.`,
  )
}
