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
   * answer was 429, 502, 503 or 504, after what its `Retry-After` says. Default: 2.
   */
  readonly retries?: number
  /**
   * Whether tensors go as bytes, both ways, rather than as JSON. Default: as the server says, which is asked at first whether it
   * lists `binary_tensor_data`.
   */
  readonly binary?: boolean
  /** The largest answer that is taken, inflated, in bytes. Default: 268,435,456. */
  readonly maxResponseBytes?: number
}

/** The options, with what is left out. */
export interface CheckedOptions extends Required<Omit<InferenceClientOptions, 'binary'>> {
  readonly binary: boolean | undefined
}

const longestMs = 2 ** 31 - 1

/** Larger than outputs commonly are, and small enough that a server which sends without end does no harm. */
export const defaultMaxResponseBytes = 256 * 2 ** 20

/** Node's fetch asks for compressed answers, which costs the server more than it saves; browsers keep their own. */
const uncompressed = { 'accept-encoding': 'identity' }

const names: Record<keyof InferenceClientOptions, true> = {
  url: true,
  headers: true,
  fetch: true,
  timeoutMs: true,
  retries: true,
  binary: true,
  maxResponseBytes: true,
}

/** @throws InferenceError INVALID_OPTIONS */
export function checkOptions(options: InferenceClientOptions): CheckedOptions {
  if (typeof (options as unknown) !== 'object' || (options as unknown) === null)
    throw invalid('its options', 'an object, such as { url: "http://localhost:8000" }')
  for (const name of Object.keys(options)) {
    if (Object.hasOwn(names, name)) continue
    const message = `InferenceClient: unknown option "${name}". They are ${Object.keys(names).join(', ')}.`
    throw new InferenceError('INVALID_OPTIONS', message)
  }
  const { url, headers = {}, timeoutMs = 30_000, retries = 2, binary } = options
  const { maxResponseBytes = defaultMaxResponseBytes } = options
  const { fetch = globalThis.fetch.bind(globalThis) } = options
  checkTimeoutMs(timeoutMs)
  if (!isInteger(retries, 0, 100)) throw invalid('retries', 'an integer from 0 to 100')
  if (typeof fetch !== 'function') throw invalid('fetch', 'a function')
  if (binary !== undefined && typeof binary !== 'boolean') throw invalid('binary', 'true or false')
  if (!isInteger(maxResponseBytes, 1, 2 ** 32))
    throw invalid('maxResponseBytes', `an integer from 1 to ${2 ** 32}`)
  return {
    url: baseUrl(url),
    headers: { ...uncompressed, ...checkedHeaders(headers) },
    fetch,
    timeoutMs,
    retries,
    binary,
    maxResponseBytes,
  }
}

/** @throws InferenceError INVALID_OPTIONS */
export function checkTimeoutMs(timeoutMs: unknown): void {
  if (!isInteger(timeoutMs, 1, longestMs)) throw invalid('timeoutMs', `an integer from 1 to ${longestMs}`)
}

/** Headers that say how the message is sent, which is not the caller's to say. */
const framing = ['content-length', 'transfer-encoding']

/** By their names in lower case. */
function checkedHeaders(headers: unknown): Record<string, string> {
  if (typeof headers !== 'object' || headers === null) throw invalid('headers', 'an object of texts by name')
  const entries = Object.entries(headers).map(([name, value]: [string, unknown]) => {
    const header = name.toLowerCase()
    if (framing.includes(header)) throw invalid('headers', `without ${header}, which is its own to say`)
    if (typeof value !== 'string' || !canBeSent(name, value))
      throw invalid(`headers["${name}"]`, 'a text that HTTP can carry')
    return [header, value] as const
  })
  return Object.fromEntries(entries)
}

function canBeSent(name: string, value: string): boolean {
  try {
    new Headers([[name, value]])
    return true
  } catch {
    return false
  }
}

function baseUrl(url: string): string {
  const parsed = URL.canParse(url) ? new URL(url) : undefined
  if (parsed === undefined || !/^https?:$/.test(parsed.protocol)) {
    throw invalid('url', 'an http:// or https:// address, such as http://localhost:8000')
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
  return new InferenceError('INVALID_OPTIONS', `InferenceClient: ${option} must be ${expected}.`)
}
