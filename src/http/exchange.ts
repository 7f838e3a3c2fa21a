import type { Readable } from 'node:stream'

/** A request as every adapter hands it over. */
export interface HttpRequest {
  /** The values of the path's `:parameters`, decoded. */
  readonly params: Readonly<Record<string, string>>
  /** The path that the caller asked for, with what the host mounts the routes below; as far as that is known. */
  readonly path?: string
  /** What stands behind the path's question mark, undecoded; empty where there is none. */
  readonly query: string
  /** By lower-case name; of a repeated header, what Node gives. */
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly body: HttpBody
  /** Aborted when the caller hangs up. */
  readonly signal: AbortSignal
  /** The framework's own request, for the host's `context`. */
  readonly source: unknown
}

/** A body still to be read, or one that the host has parsed already. */
export type HttpBody = UnreadBody | { readonly parsed: unknown }

export interface UnreadBody {
  /** Asked for once, when it is read: by then what could be refused unread has been. */
  readonly stream: Readable
}

export type HttpResponse = WholeResponse | StreamedResponse

interface ResponseHead {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
}

export interface WholeResponse extends ResponseHead {
  /** Text, or bytes such as those of tensors. */
  readonly body: string | Uint8Array
}

export interface TextResponse extends WholeResponse {
  readonly body: string
}

/** One whose body comes piece by piece. */
export interface StreamedResponse extends ResponseHead {
  readonly body: BodyStream
}

/** Pieces of text, each of which is made when it can be sent. */
export interface BodyStream {
  next(): Promise<IteratorResult<string, undefined>>
  /** Nobody takes the rest; also of one that was never asked for anything. */
  return(): Promise<IteratorResult<string, undefined>>
  [Symbol.asyncIterator](): BodyStream
}

export function isStreamed(answer: HttpResponse | HandedOn): answer is StreamedResponse {
  return 'body' in answer && typeof answer.body === 'object' && Symbol.asyncIterator in answer.body
}

/** An error that the host's own error handler is to answer. */
export interface HandedOn {
  readonly error: unknown
  readonly headers: Readonly<Record<string, string>>
}

/** The query of a request target. */
export function queryOf(target: string): string {
  const start = target.indexOf('?')
  return start === -1 ? '' : target.slice(start + 1).replace(/#.*$/s, '')
}

export function json(
  status: number,
  value: unknown,
  headers: Readonly<Record<string, string>> = {},
): TextResponse {
  return {
    status,
    headers: { 'content-type': 'application/json; charset=utf-8', ...headers },
    body: stringify(value),
  }
}

/** JSON of any value: of a bigint its digits as a string, and null for what has none. */
export function stringify(value: unknown): string {
  try {
    return JSON.stringify(value)
  } catch {
    // Bigints, mostly. A replacer is called for every value there is, and so takes ten times as long.
    return JSON.stringify(value, writable)
  }
}

/** JSON has no 64-bit integers, and a number would lose digits: they are strings. */
function writable(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? value.toString() : value
}
