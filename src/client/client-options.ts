import { InferenceError } from './inference-error.js'

export interface InferenceClientOptions {
  /** Where the server is: `http://localhost:8000`, with the path before `/v2` where there is one. */
  readonly url: string
  /** Sent with every request, such as an `authorization`. Default: none. */
  readonly headers?: Readonly<Record<string, string>>
  /** What requests are made with. Default: the global `fetch`. */
  readonly fetch?: typeof globalThis.fetch
  /** The most that a call takes, its retries and waits included, in milliseconds. Default: 30,000. */
  readonly timeoutMs?: number
  /**
   * How often a call is tried again: where no connection was to be had or it broke before an answer, and where the
   * answer was 502, 503 or 504, after what its `Retry-After` says. Default: 2.
   */
  readonly retries?: number
  /**
   * Whether tensors go as bytes, both ways, rather than as JSON. Default: as the server says, which is asked once whether it
   * has the extension `binary_tensor_data`.
   */
  readonly binary?: boolean
}

/** The options, with what is left out. */
export interface CheckedOptions extends Required<Omit<InferenceClientOptions, 'binary'>> {
  readonly binary: boolean | undefined
}

const longestMs = 2 ** 31 - 1

/** Node's fetch asks for compressed answers, which costs the server more than it saves; browsers keep their own. */
const uncompressed = { 'accept-encoding': 'identity' }

/** @throws InferenceError INVALID_OPTIONS */
export function checkOptions(options: InferenceClientOptions): CheckedOptions {
  const { url, headers = {}, timeoutMs = 30_000, retries = 2, binary } = options
  const { fetch = globalThis.fetch.bind(globalThis) } = options
  if (!isInteger(timeoutMs, 1, longestMs)) throw invalid('timeoutMs', `an integer from 1 to ${longestMs}`)
  if (!isInteger(retries, 0, 100)) throw invalid('retries', 'an integer from 0 to 100')
  if (typeof fetch !== 'function') throw invalid('fetch', 'a function')
  if (binary !== undefined && typeof binary !== 'boolean') throw invalid('binary', 'true or false')
  return {
    url: baseUrl(url),
    headers: { ...uncompressed, ...lowerCase(headers) },
    fetch,
    timeoutMs,
    retries,
    binary,
  }
}

function lowerCase(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]))
}

function baseUrl(url: string): string {
  const parsed = URL.canParse(url) ? new URL(url) : undefined
  if (parsed === undefined || !/^https?:$/.test(parsed.protocol)) {
    throw invalid('url', 'an http:// or https:// address')
  }
  if (parsed.username !== '' || parsed.password !== '')
    throw invalid('url', 'without a user and a password, which go into the headers')
  if (parsed.search !== '' || parsed.hash !== '') throw invalid('url', 'without a query and a fragment')
  return parsed.href.replace(/\/+$/, '')
}

function isInteger(value: unknown, min: number, max: number): boolean {
  return typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max
}

function invalid(option: string, expected: string): InferenceError {
  return new InferenceError('INVALID_OPTIONS', `new InferenceClient(): ${option} must be ${expected}.`)
}
