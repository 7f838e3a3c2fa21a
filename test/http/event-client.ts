import { once } from 'node:events'
import { request, type ClientRequest, type IncomingHttpHeaders, type IncomingMessage } from 'node:http'
import { text } from 'node:stream/consumers'

export interface Event {
  readonly name: string
  /** Its JSON. */
  readonly data: unknown
}

/** A caller of a route that answers with server-sent events, which reads no more than it is asked for. */
export class EventClient implements Disposable {
  readonly #sent: ClientRequest
  readonly #response: IncomingMessage
  readonly #parts: AsyncIterator<string>
  #received = ''

  private constructor(sent: ClientRequest, response: IncomingMessage) {
    this.#sent = sent
    this.#response = response
    response.setEncoding('utf8')
    this.#parts = response[Symbol.asyncIterator]() as AsyncIterator<string>
  }

  /** Posts a value as JSON; settles with the answer's head. */
  static async post(
    origin: string,
    path: string,
    body: unknown,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<EventClient> {
    const { hostname, port } = new URL(origin)
    const all = { 'content-type': 'application/json', ...headers }
    const sent = request({ hostname, port, path, method: 'POST', agent: false, headers: all })
    const response = once(sent, 'response')
    sent.on('error', () => {})
    sent.end(body instanceof Uint8Array ? body : JSON.stringify(body))
    return new EventClient(sent, ((await response) as [IncomingMessage])[0])
  }

  get status(): number {
    return this.#response.statusCode ?? 0
  }

  get headers(): IncomingHttpHeaders {
    return this.#response.headers
  }

  /** The next event; undefined after the last. */
  async next(): Promise<Event | undefined> {
    for (;;) {
      const end = this.#received.indexOf('\n\n')
      if (end >= 0) {
        const event = this.#received.slice(0, end)
        this.#received = this.#received.slice(end + 2)
        const name = /^event: (.*)$/m.exec(event)?.[1] ?? 'message'
        return { name, data: JSON.parse(/^data: (.*)$/m.exec(event)?.[1] ?? '') }
      }
      const { value, done } = await this.#parts.next()
      if (done === true) return undefined
      this.#received += value
    }
  }

  /** All events that are still to come. */
  async rest(): Promise<Event[]> {
    const events: Event[] = []
    for (let event = await this.next(); event !== undefined; event = await this.next()) events.push(event)
    return events
  }

  /** The body of an answer that is no stream. */
  text(): Promise<string> {
    return text(this.#response)
  }

  hangUp(): void {
    this.#sent.destroy()
  }

  [Symbol.dispose](): void {
    this.hangUp()
  }
}
