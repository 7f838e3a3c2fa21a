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

/**
 * Answers with a stream's items as server-sent events, each sent when it is made, and made when the caller can take it.
 * The first is waited for: what fails before it is an answer with a status of its own.
 * @throws ServingError of what fails before the first item
 */
export async function eventStream(
  stream: PredictionStream<unknown>,
  format: EventFormat,
): Promise<HttpResponse> {
  const first = await stream.next()
  return {
    status: 200,
    headers: {
      'content-type': 'text/event-stream; charset=utf-8',
      // nginx would keep events until it has a buffer full of them.
      'x-accel-buffering': 'no',
    },
    body: new Events(stream, first, format),
  }
}

class Events implements BodyStream {
  #first: IteratorResult<unknown, undefined> | undefined
  #items = 0
  #isOver = false

  constructor(
    private readonly stream: PredictionStream<unknown>,
    first: IteratorResult<unknown, undefined>,
    private readonly format: EventFormat,
  ) {
    this.#first = first
  }

  async next(): Promise<IteratorResult<string, undefined>> {
    if (this.#isOver) return { value: undefined, done: true }
    try {
      const { value, done } = this.#first ?? (await this.stream.next())
      this.#first = undefined
      if (done !== true) {
        this.#items++
        return { value: textOf(this.format.item(value)) }
      }
      this.#isOver = true
      return { value: textOf(this.format.done(this.#items)) }
    } catch (error) {
      this.#isOver = true
      // An item that is no JSON ends the stream too. Its code may go on for long where it heeds nothing.
      void this.stream.return()
      return { value: textOf(this.format.failed(error)) }
    }
  }

  async return(): Promise<IteratorResult<string, undefined>> {
    this.#isOver = true
    await this.stream.return()
    return { value: undefined, done: true }
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
