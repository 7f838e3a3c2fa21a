import { ServingError } from '../errors.js'
import type { PredictionStream } from '../predict-stream.js'
import { stringify, type BodyStream, type HttpResponse } from './exchange.js'

/** One server-sent event; `name` undefined is a plain message. */
export interface ServerEvent {
  readonly name?: string
  /** Sent as JSON. */
  readonly data: unknown
}

/** What a stream of items looks like to whoever reads its events. */
export interface EventFormat {
  item(item: unknown): ServerEvent
  /** After the last of `items`. */
  done(items: number): ServerEvent
  failed(error: unknown): ServerEvent
}

/** What is read of a stream. */
type Items = Pick<PredictionStream<unknown>, 'next' | 'return'>

/**
 * Answers with a stream's items as server-sent events, each sent when it is made, and made when the caller can take it.
 * The first is waited for: what fails before it is sent is an answer with a status of its own.
 * @param maxStallMs how long the caller may leave an event untaken before the stream is ended
 * @throws ServingError of what fails before
 */
export async function eventStream(
  items: Items,
  format: EventFormat,
  maxStallMs: number,
): Promise<HttpResponse> {
  const body = new Events(items, format, maxStallMs)
  await body.begin()
  return {
    status: 200,
    headers: {
      'content-type': 'text/event-stream; charset=utf-8',
      // Middleware that compresses would keep events until it has a block full of them, and so would nginx.
      'cache-control': 'no-store, no-transform',
      'x-accel-buffering': 'no',
    },
    body,
  }
}

class Events implements BodyStream {
  /** The first event, until it is taken. */
  #first: string | undefined
  #items = 0
  #isOver = false
  #stall: NodeJS.Timeout | undefined
  #stalled: ServingError | undefined

  constructor(
    private readonly stream: Items,
    private readonly format: EventFormat,
    private readonly maxStallMs: number,
  ) {}

  /** Makes the first event. @throws what it fails with */
  async begin(): Promise<void> {
    this.#first = await this.#make()
    this.#awaitReader()
  }

  async next(): Promise<IteratorResult<string, undefined>> {
    clearTimeout(this.#stall)
    const event =
      this.#first ?? (await this.#make().catch((error: unknown) => textOf(this.format.failed(error))))
    this.#first = undefined
    if (event === undefined) return { value: undefined, done: true }
    this.#awaitReader()
    return { value: event }
  }

  async return(): Promise<IteratorResult<string, undefined>> {
    clearTimeout(this.#stall)
    this.#isOver = true
    await this.stream.return()
    return { value: undefined, done: true }
  }

  /** The next event; undefined after the last. @throws what ended the stream, once */
  async #make(): Promise<string | undefined> {
    if (this.#isOver) return undefined
    try {
      if (this.#stalled !== undefined) throw this.#stalled
      const { value, done } = await this.stream.next()
      if (done !== true) {
        this.#items++
        return textOf(this.format.item(value))
      }
      this.#isOver = true
      return textOf(this.format.done(this.#items))
    } catch (error) {
      this.#isOver = true
      // An item that is no JSON ends the stream too. Its code may go on for long where it heeds nothing.
      void this.stream.return()
      throw error
    }
  }

  /** Who takes nothing holds up others, for whom there is a run less. */
  #awaitReader(): void {
    if (this.#isOver) return
    this.#stall = setTimeout(() => {
      const { maxStallMs } = this
      this.#stalled = new ServingError(
        'TIMEOUT',
        `the caller left an item untaken for ${maxStallMs} ms (maxStallMs).`,
      )
      void this.stream.return()
    }, this.maxStallMs).unref()
  }

  [Symbol.asyncIterator](): this {
    return this
  }
}

function textOf({ name, data }: ServerEvent): string {
  // Of a value that JSON has nothing for, such as undefined, there is no text.
  const json = (stringify(data) as string | undefined) ?? 'null'
  return `${name === undefined ? '' : `event: ${name}\n`}data: ${json}\n\n`
}
