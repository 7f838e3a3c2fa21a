import { ServingError, type ErrorCode } from '../../errors.js'
import { checkFields, integer, provided, record, show, text, type Field, type Fields } from '../../options.js'

/** An `.onnx` file on a server. Data in other files is not fetched with it. */
export interface RemoteSource {
  /** `https://...`; `http://` only of this machine itself. Required. */
  readonly url: string
  /** SHA-256 of the file in hexadecimal: nothing else is ever loaded. Required. */
  readonly sha256: string
  /** A larger file is refused. Default: 2 GiB. */
  readonly maxBytes?: number
  /** Sent with the request, such as `authorization`; not to another host that it is redirected to. Default: none. */
  readonly headers?: Readonly<Record<string, string>>
}

export const defaultMaxBytes = 2 * 1024 ** 3

const headerName = /^[\w!#$%&'*+.^`|~-]+$/
/** Printable, as HTTP carries it; what is said of a wrong one never quotes it. */
const headerValue = /^[\t\x20-\x7e\x80-\xff]+$/

const headers: Field<Readonly<Record<string, string>>> = {
  ...record(text),
  inside: (value, path, code) => {
    for (const [name, each] of Object.entries(value)) {
      if (headerName.test(name) && headerValue.test(each)) continue
      throw new ServingError(
        code,
        `${path}: ${show(name)} can't be a header of HTTP by its name or its value.`,
      )
    }
  },
}

export const remoteSourceFields: Fields<RemoteSource> = {
  url: text,
  sha256: provided(
    '64 hexadecimal digits',
    (value) => typeof value === 'string' && /^[\da-f]{64}$/i.test(value),
  ),
  maxBytes: integer(1),
  headers,
}

/** @throws ServingError of `code` for what can't be fetched from */
export function checkRemoteSource(source: RemoteSource, where: string, code: ErrorCode): void {
  checkFields(source, remoteSourceFields, where, code)
  for (const name of ['url', 'sha256'] as const) {
    // Where types are not checked, it may be missing.
    if ((source as Partial<RemoteSource>)[name] !== undefined) continue
    throw new ServingError(
      code,
      `${where}.${name} is missing; it must be ${remoteSourceFields[name].expected}.`,
    )
  }
  const url = URL.canParse(source.url) ? new URL(source.url) : undefined
  if (url === undefined || !isAllowed(url)) {
    throw new ServingError(
      code,
      `${where}.url must be an https:// address (http:// only of localhost), without a name and password in it.`,
    )
  }
}

/** Whether an address may be asked: what is fetched over the network must not be read or sent on by others. */
export function isAllowed({ protocol, hostname, username, password }: URL): boolean {
  if (username !== '' || password !== '') return false
  const isLocal = hostname === 'localhost' || hostname === '[::1]' || /^127(?:\.\d+){3}$/.test(hostname)
  return protocol === 'https:' || (protocol === 'http:' && isLocal)
}
