import { createHash, timingSafeEqual } from 'node:crypto'
import { ServingError } from '../errors.js'
import { checkFields, func, isPlainObject, show, type Field, type Fields } from '../options.js'
import type { HttpRequest } from './exchange.js'

/**
 * Who may use the admin routes: one of the two.
 * @typeParam R the framework's own request
 */
export interface AdminOptions<R = never> {
  /**
   * Says who is asking, before the body is read: the name that the audit trail has, or undefined for one who may not.
   * What it throws goes to the host's error handler. A method, so that a request type of the host's own fits.
   */
  authorize?(request: R): string | undefined | Promise<string | undefined>
  /**
   * The bearer token of those who may, or tokens by the name that the audit trail has of their owner. At least 16
   * characters.
   */
  readonly token?: string | Readonly<Record<string, string>>
}

const shortestToken = 16
const tokenPattern = /^[\x21-\x7e]*$/

/** What is said of a wrong one never quotes it. */
const token: Field<string | Readonly<Record<string, string>>> = {
  expected: 'a string of at least 16 characters, or an object of such by name',
  accepts: (value): value is string | Readonly<Record<string, string>> =>
    typeof value === 'string' || isPlainObject(value),
  inside: (value, path, code) => {
    const tokens = tokensOf(value)
    const refuse = (at: string, reason: string) => {
      throw new ServingError(code, `${at} ${reason}`)
    }
    if (tokens.length === 0) refuse(path, 'must name at least one token.')
    for (const [name, each] of tokens) {
      const at = typeof value === 'string' ? path : `${path}.${name}`
      if (name === '') refuse(path, 'has a token whose name is empty.')
      if (typeof each !== 'string') refuse(at, 'must be a string.')
      if (each.length < shortestToken)
        refuse(at, `must have at least ${shortestToken} characters; got ${each.length}.`)
      if (!tokenPattern.test(each))
        refuse(at, 'must be of printable ASCII without spaces, as a header carries it.')
    }
    if (new Set(tokens.map(([, each]) => each)).size < tokens.length)
      refuse(path, 'has the same token under two names.')
  },
}

export const adminFields: Fields<AdminOptions> = { authorize: func(), token }

export const adminOption: Field<AdminOptions> = {
  expected: 'an object',
  accepts: (value): value is AdminOptions => isPlainObject(value),
  inside: (value, path, code) => {
    checkFields<AdminOptions>(value, adminFields, path, code)
    if ((value.authorize === undefined) === (value.token === undefined)) {
      throw new ServingError(code, `${path} must have one of authorize and token.`)
    }
  },
}

function tokensOf(value: NonNullable<AdminOptions['token']>): [name: string, token: string][] {
  return typeof value === 'string' ? [['token', value]] : Object.entries(value)
}

/** Decides who may use the admin routes. */
export class AdminAccess {
  readonly #authorize: AdminOptions['authorize']
  readonly #tokens: readonly { readonly name: string; readonly digest: Buffer }[]

  constructor(options: AdminOptions) {
    // Called on the options, which may be an object with state of its own.
    this.#authorize = options.authorize && ((request) => options.authorize?.(request))
    this.#tokens = tokensOf(options.token ?? {}).map(([name, each]) => ({ name, digest: digest(each) }))
  }

  /**
   * The name of who is asking, or why it is refused.
   * @throws ServingError INVALID_OPTIONS where `authorize` gives no name; what `authorize` throws
   */
  async actorOf(request: Pick<HttpRequest, 'headers' | 'source'>): Promise<string | ServingError> {
    if (this.#authorize === undefined) return this.#byToken(request)
    const actor: unknown = await this.#authorize(request.source as never)
    if (actor === undefined) return new ServingError('FORBIDDEN', 'the app does not let you use this route.')
    if (typeof actor === 'string' && actor !== '') return actor
    throw new ServingError(
      'INVALID_OPTIONS',
      `authorize() must give the caller's name, or undefined for one who may not; got ${show(actor)}.`,
    )
  }

  #byToken({ headers }: Pick<HttpRequest, 'headers'>): string | ServingError {
    const given = /^bearer +(\S+) *$/i.exec(headers.authorization?.toString() ?? '')?.[1]
    if (given === undefined) return unauthorized('send a token, as "authorization: Bearer <token>".', '')
    const candidate = digest(given)
    let actor: string | undefined
    // Every one, and by digests of one length: how long it takes tells nothing of the tokens.
    for (const { name, digest } of this.#tokens) if (timingSafeEqual(digest, candidate)) actor = name
    return actor ?? unauthorized('the token is not one that counts.', ', error="invalid_token"')
  }
}

function unauthorized(message: string, parameters: string): ServingError {
  return new ServingError('UNAUTHORIZED', message, {
    headers: { 'www-authenticate': `Bearer realm="mlserving"${parameters}` },
  })
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}
