import { asServingError, ServingError } from '../errors.js'
import { show } from '../options.js'
import type { ItemChannel } from './item-channel.js'

/** The user's function over rows: gives an answer for each, in their order. */
export type CustomRun = (
  resource: never,
  rows: never[],
  context: { readonly signal: AbortSignal },
) => readonly unknown[] | Promise<readonly unknown[]>

/** The user's function that answers one row item by item. */
export type CustomStream = (
  resource: never,
  row: never,
  context: { readonly signal: AbortSignal },
) => AsyncIterable<unknown> | Iterable<unknown>

export interface CustomSessionOptions {
  /** Default: all that `stream` gives, as a list for each row. */
  readonly run?: CustomRun | undefined
  /** Default: it can't be asked item by item. */
  readonly stream?: CustomStream | undefined
  readonly dispose?: ((resource: never) => void | Promise<void>) | undefined
  /** Calls of `run` that may be under way at once. Default: 8. */
  readonly concurrency?: number | undefined
}

/**
 * The user's own code as what runs batches. It takes no permit: what it waits for is not known to compute here, and
 * a prediction that it makes itself must not wait for its own end.
 */
export class CustomSession {
  readonly slots: number
  readonly #resource: unknown
  readonly #options: CustomSessionOptions
  #running = 0
  #idle: (() => void) | undefined
  #closing: Promise<void> | undefined

  constructor(resource: unknown, options: CustomSessionOptions) {
    this.#resource = resource
    this.#options = options
    this.slots = options.concurrency ?? 8
  }

  /** @throws ServingError INFERENCE_FAILED, INVALID_CODEC where it gives not one answer a row, or what `run` throws */
  async run(
    rows: readonly unknown[],
    context: { readonly signal: AbortSignal },
  ): Promise<{ result: readonly unknown[]; computeMs: number }> {
    if (this.#closing !== undefined) throw new ServingError('CLOSED', 'the model is closed')
    this.#running++
    const started = performance.now()
    try {
      const { run = this.#collect } = this.#options
      const result: unknown = await run(this.#resource as never, [...rows] as never[], context)
      if (!Array.isArray(result) || result.length !== rows.length) {
        const got = Array.isArray(result) ? `${result.length}` : `no array`
        throw new ServingError(
          'INVALID_CODEC',
          `run must give an array of ${rows.length} answers; got ${got}.`,
        )
      }
      return { result, computeMs: performance.now() - started }
    } catch (error) {
      throw asServingError(error, 'INFERENCE_FAILED', 'run failed')
    } finally {
      if (--this.#running === 0) this.#idle?.()
    }
  }

  readonly #collect: CustomRun = (_resource, rows, { signal }) =>
    Promise.all(
      rows.map(async (row) => {
        const items: unknown[] = []
        for await (const item of this.#items(row, signal)) {
          if (signal.aborted) break
          items.push(item)
        }
        return items
      }),
    )

  /** @throws ServingError INVALID_CODEC where `stream` gives nothing to iterate; what it throws */
  #items(row: unknown, signal: AbortSignal): AsyncIterable<unknown> | Iterable<unknown> {
    const items: unknown = this.#options.stream?.(this.#resource as never, row as never, { signal })
    if (typeof items === 'object' && items !== null) {
      if (Symbol.asyncIterator in items || Symbol.iterator in items)
        return items as AsyncIterable<unknown> | Iterable<unknown>
    }
    throw new ServingError('INVALID_CODEC', `stream must give an AsyncIterable; got ${show(items)}.`)
  }

  /**
   * Answers a row item by item, as they are asked for; settles once the generator has ended.
   * @throws ServingError INFERENCE_FAILED, INVALID_CODEC, or what `stream` throws
   */
  async stream(
    row: unknown,
    channel: ItemChannel,
    { signal }: { readonly signal: AbortSignal },
  ): Promise<{ result: readonly unknown[]; computeMs: number; isRough: true }> {
    if (this.#closing !== undefined) throw new ServingError('CLOSED', 'the model is closed')
    this.#running++
    try {
      const items = this.#items(row, signal)
      const iterator =
        Symbol.asyncIterator in items ? items[Symbol.asyncIterator]() : items[Symbol.iterator]()
      return { result: [undefined], computeMs: await channel.pump(iterator, signal), isRough: true }
    } catch (error) {
      throw asServingError(error, 'INFERENCE_FAILED', 'stream failed')
    } finally {
      if (--this.#running === 0) this.#idle?.()
    }
  }

  /**
   * Waits for the runs under way, then disposes of the resource. A second call joins the first, and may cut it off.
   * @param isCutOff whether to leave the runs under way behind
   */
  close(isCutOff = false): Promise<void> {
    const closing = (this.#closing ??= this.#close())
    if (isCutOff) this.#idle?.()
    return closing
  }

  async #close(): Promise<void> {
    if (this.#running > 0) await new Promise<void>((resolve) => (this.#idle = resolve))
    await this.#options.dispose?.(this.#resource as never)
  }
}
