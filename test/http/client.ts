import { once } from 'node:events'
import { request, type IncomingHttpHeaders, type IncomingMessage, type OutgoingHttpHeaders } from 'node:http'
import { connect, type Socket } from 'node:net'
import { buffer } from 'node:stream/consumers'

export interface Question {
  /** Default: POST where there is a body, else GET. */
  readonly method?: string
  readonly headers?: OutgoingHttpHeaders
  /** Sent with its length; a list of parts is sent chunked. */
  readonly body?: string | Uint8Array | readonly string[]
}

export interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly bytes: Buffer
  readonly text: string
}

/** Sends a request as it is, its path and headers included, where `fetch` would tidy it. */
export async function ask(origin: string, path: string, question: Question = {}): Promise<Answer> {
  const { body, headers, method = body === undefined ? 'GET' : 'POST' } = question
  const { hostname, port } = new URL(origin)
  const parts =
    body === undefined || typeof body === 'string' || body instanceof Uint8Array ? undefined : body
  const length =
    parts === undefined && body !== undefined ? { 'content-length': Buffer.byteLength(body as string) } : {}
  const sent = request({ hostname, port, path, method, agent: false, headers: { ...length, ...headers } })
  const response = once(sent, 'response')
  for (const part of parts ?? []) sent.write(part)
  sent.end(parts === undefined ? body : undefined)
  const [received] = (await response) as [IncomingMessage]
  sent.on('error', () => {}) // an answer that came before all was sent is an answer
  const bytes = await buffer(received)
  return { status: received.statusCode ?? 0, headers: received.headers, bytes, text: bytes.toString() }
}

/** Posts a value as JSON, or a text as it is. */
export function post(
  origin: string,
  path: string,
  body: unknown,
  headers: OutgoingHttpHeaders = {},
): Promise<Answer> {
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  return ask(origin, path, { body: text, headers: { 'content-type': 'application/json', ...headers } })
}

/** The JSON of an answer, whatever its status. */
export function json(answer: Answer): Record<string, unknown> {
  return JSON.parse(answer.text) as Record<string, unknown>
}

/** One connection, on which requests are written by hand. */
export class Line implements Disposable {
  #received = ''

  private constructor(private readonly socket: Socket) {
    socket.setEncoding('latin1')
    socket.on('data', (text: string) => (this.#received += text))
  }

  static async dial(origin: string): Promise<Line> {
    const { hostname, port } = new URL(origin)
    const socket = connect(Number(port), hostname)
    await once(socket, 'connect')
    return new Line(socket)
  }

  write(text: string, encoding: BufferEncoding = 'utf8'): void {
    this.socket.write(text, encoding)
  }

  /** Waits for the next answer, whole. Rejects where the server hangs up before. */
  async answer(): Promise<{ readonly status: number; readonly body: string }> {
    const [head, status, length] = await this.#receive(
      /^HTTP\/1\.1 (\d+)[^]*?\r\ncontent-length: (\d+)\r\n[^]*?\r\n\r\n/i,
    )
    const [body] = await this.#receive(new RegExp(`^[^]{${head.length + Number(length)}}`))
    this.#received = this.#received.slice(body.length)
    return { status: Number(status), body: body.slice(head.length) }
  }

  /** Waits for a text that comes next, and takes it. */
  async receives(text: string): Promise<void> {
    await this.#receive(new RegExp(`^[^]{${text.length}}`))
    if (!this.#received.startsWith(text)) throw new Error(`received ${JSON.stringify(this.#received)}`)
    this.#received = this.#received.slice(text.length)
  }

  async #receive(pattern: RegExp): Promise<RegExpExecArray> {
    for (;;) {
      const match = pattern.exec(this.#received)
      if (match !== null) return match
      if (this.socket.destroyed) throw new Error('the server hung up')
      await Promise.race([once(this.socket, 'data'), once(this.socket, 'close')])
    }
  }

  hangUp(): void {
    this.socket.destroy()
  }

  [Symbol.dispose](): void {
    this.hangUp()
  }
}
