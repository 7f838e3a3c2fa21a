import { createHash, type Hash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { open, rm, type FileHandle } from 'node:fs/promises'
import type { Clock } from '../../clock.js'
import { messageOf, ServingError } from '../../errors.js'
import type { ArtifactCache } from './artifact-cache.js'
import { defaultMaxBytes, isAllowed, type RemoteSource } from './remote-source.js'

/** A server that sends nothing for this long is given up; what came is kept for the next attempt. */
const idleMs = 30_000
const mostRedirects = 5
/** Connections of one fetch that are cut off. */
const mostConnections = 16
/** Those in a row that brought nothing: what came last may be lost with the connection. */
const mostFruitless = 2

export interface FetchHost {
  readonly cache: ArtifactCache
  readonly clock: Clock
  /** Ends the fetch. */
  readonly signal: AbortSignal
}

/** Fetches under way, by the file that they are for: a part has one writer. */
const underWay = new Map<string, Promise<string>>()

/**
 * Fetches an artifact into the cache, unless it is there. What is cut off goes on where it was, where the server knows
 * ranges, and else begins anew; also in a later attempt and after a restart.
 * @returns the file's path
 * @throws ServingError SOURCE_UNAVAILABLE where it can't be had; INVALID_MODEL where it is not what `sha256` says, or larger
 *   than `maxBytes`
 */
export async function fetchArtifact(source: RemoteSource, host: FetchHost): Promise<string> {
  const sha256 = source.sha256.toLowerCase()
  const file = host.cache.fileOf(sha256)
  // What another fetches is there afterwards; or it was given up, and this one goes on with it.
  for (let other = underWay.get(file); other !== undefined; other = underWay.get(file))
    await other.catch(() => {})
  const fetched = new Fetch({ ...source, sha256 }, host).run()
  underWay.set(file, fetched)
  try {
    return await fetched
  } finally {
    underWay.delete(file)
  }
}

class Fetch {
  readonly #maxBytes: number
  #hash: Hash = createHash('sha256')
  /** Bytes of the part so far. */
  #size = 0
  /** Connections that were answered with the file, or a part of it. */
  #answers = 0

  constructor(
    private readonly source: RemoteSource,
    private readonly host: FetchHost,
  ) {
    this.#maxBytes = source.maxBytes ?? defaultMaxBytes
  }

  async run(): Promise<string> {
    const { cache } = this.host
    const { sha256 } = this.source
    const cached = await cache.find(sha256)
    if (cached !== undefined) return cached
    const part = await cache.part(sha256)
    const handle = await open(part, 'a+', 0o600).catch((error: unknown) => {
      throw this.#failure(error)
    })
    try {
      await this.#readPart(part)
      const resumed = this.#size > 0
      if (!this.#isWhole) await this.#fetchRest(handle)
      if (!this.#isWhole && resumed) {
        // The beginning was of something else.
        await this.#restart(handle)
        await this.#fetchRest(handle)
      }
      await handle.sync()
    } catch (error) {
      if (ServingError.is(error, 'INVALID_MODEL')) await rm(part, { force: true })
      throw this.#failure(error)
    } finally {
      await handle.close()
    }
    if (this.#isWhole) return cache.keep(sha256, part)
    await rm(part, { force: true })
    throw new ServingError(
      'INVALID_MODEL',
      `the artifact that was fetched is not the one: its SHA-256 is ${this.#digest}, and should be ${sha256}.`,
      { cause: new Error(`fetched from ${this.#address}`) },
    )
  }

  get #digest(): string {
    return this.#hash.copy().digest('hex')
  }

  get #isWhole(): boolean {
    return this.#size > 0 && this.#digest === this.source.sha256
  }

  /** Where it comes from, for logs: what follows a question mark may be a secret. */
  get #address(): string {
    const { origin, pathname } = new URL(this.source.url)
    return origin + pathname
  }

  /** The message, which clients may read too, says nothing of where it lies; the cause does. */
  #failure(error: unknown): ServingError {
    if (ServingError.is(error)) return error
    const { cause = error } = error as Error
    const { code = messageOf(error) } = cause as NodeJS.ErrnoException
    return new ServingError('SOURCE_UNAVAILABLE', `the artifact could not be fetched: ${code}`, {
      cause: new Error(`${this.#address}: ${messageOf(cause)}`, { cause: error }),
    })
  }

  async #readPart(part: string): Promise<void> {
    for await (const chunk of createReadStream(part)) this.#took(chunk as Buffer)
  }

  #took(chunk: Uint8Array): void {
    this.#hash.update(chunk)
    this.#size += chunk.byteLength
  }

  async #restart(handle: FileHandle): Promise<void> {
    await handle.truncate(0)
    this.#hash = createHash('sha256')
    this.#size = 0
  }

  /** Connects again for as long as connections bring something. */
  async #fetchRest(handle: FileHandle): Promise<void> {
    let fruitless = 0
    for (let connections = 1; ; connections++) {
      const before = { size: this.#size, answers: this.#answers }
      try {
        return await this.#connect(handle)
      } catch (error) {
        const isFinal = ServingError.is(error) || this.host.signal.aborted
        fruitless = this.#size > before.size ? 0 : fruitless + 1
        if (isFinal || this.#answers === before.answers) throw error
        if (fruitless === mostFruitless || connections === mostConnections) throw error
      }
    }
  }

  async #connect(handle: FileHandle): Promise<void> {
    const { clock, signal } = this.host
    const idle = new AbortController()
    const watch = () =>
      clock.setTimer(() => idle.abort(new Error(`nothing came for ${idleMs} ms`)), idleMs, {
        background: true,
      })
    let timer = watch()
    try {
      const response = await this.#request(AbortSignal.any([signal, idle.signal]))
      if (response.status === 416) return await this.#beginAnew(handle, response)
      if (!response.ok) {
        await response.body?.cancel()
        throw unavailable(`the server answered ${response.status}`, this.#address)
      }
      if (response.status !== 206 || startOf(response) !== this.#size) {
        if (response.status === 206) return await this.#beginAnew(handle, response)
        await this.#restart(handle)
      }
      this.#answers++
      const length = Number(response.headers.get('content-length') ?? 0)
      if (this.#size + length > this.#maxBytes) {
        await response.body?.cancel()
        throw this.#tooLarge()
      }
      for await (const chunk of response.body ?? []) {
        timer.clear()
        const bytes = chunk as Uint8Array
        if (this.#size + bytes.byteLength > this.#maxBytes) throw this.#tooLarge()
        await handle.appendFile(bytes)
        this.#took(bytes)
        timer = watch()
      }
      if (this.#size < (totalOf(response) ?? 0)) throw new Error('the connection ended early')
    } finally {
      timer.clear()
    }
  }

  /** The server does not know the range that was asked for: the part is of something else. */
  async #beginAnew(handle: FileHandle, response: Response): Promise<void> {
    await response.body?.cancel()
    if (this.#size === 0) throw unavailable(`the server answered ${response.status}`, this.#address)
    await this.#restart(handle)
    return this.#connect(handle)
  }

  /** Follows redirects itself, so that each address is looked at, and only the first host is sent the headers. */
  async #request(signal: AbortSignal): Promise<Response> {
    let url = new URL(this.source.url)
    const { origin } = url
    for (let redirects = 0; redirects <= mostRedirects; redirects++) {
      const response = await fetch(url, {
        signal,
        redirect: 'manual',
        headers: {
          ...(url.origin === origin && this.source.headers),
          // As the file lies there: a range of something compressed is of no use.
          'accept-encoding': 'identity',
          ...(this.#size > 0 && { range: `bytes=${this.#size}-` }),
        },
      })
      const location = response.headers.get('location')
      if (response.status < 300 || response.status >= 400 || location === null) return response
      await response.body?.cancel()
      url = new URL(location, url)
      if (!isAllowed(url)) throw unavailable('it is redirected to an address that is not https', url.origin)
    }
    throw unavailable(`it is redirected more than ${mostRedirects} times`, this.#address)
  }

  #tooLarge(): ServingError {
    return new ServingError(
      'INVALID_MODEL',
      `the artifact is larger than ${this.#maxBytes} bytes (maxBytes).`,
      {
        cause: new Error(this.#address),
      },
    )
  }
}

function unavailable(reason: string, address: string): ServingError {
  return new ServingError('SOURCE_UNAVAILABLE', `the artifact could not be fetched: ${reason}`, {
    cause: new Error(address),
  })
}

/** The first byte of a part, as the server counts. */
function startOf(response: Response): number | undefined {
  const start = /^bytes (\d+)-/.exec(response.headers.get('content-range') ?? '')?.[1]
  return start === undefined ? undefined : Number(start)
}

/** The bytes of the whole file, where the server says so. */
function totalOf(response: Response): number | undefined {
  const total =
    response.status === 206
      ? /\/(\d+)$/.exec(response.headers.get('content-range') ?? '')?.[1]
      : response.headers.get('content-length')
  return total === undefined || total === null ? undefined : Number(total)
}
