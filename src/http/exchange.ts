import type { Readable } from 'node:stream'

/** A request as every adapter hands it over. */
export interface HttpRequest {
  /** The values of the path's `:parameters`, decoded. */
  readonly params: Readonly<Record<string, string>>
  /** By lower-case name; of a repeated header, what Node gives. */
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly body: HttpBody
  /** Aborted when the caller hangs up. */
  readonly signal: AbortSignal
}

/** A body still to be read, or one that the host has parsed already. */
export type HttpBody = { readonly stream: Readable } | { readonly parsed: unknown }

export interface HttpResponse {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

export function json(
  status: number,
  value: unknown,
  headers: Readonly<Record<string, string>> = {},
): HttpResponse {
  return {
    status,
    headers: { 'content-type': 'application/json; charset=utf-8', ...headers },
    body: JSON.stringify(value, writable),
  }
}

/** JSON has no 64-bit integers, and a number would lose digits: they are strings. */
function writable(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? value.toString() : value
}
