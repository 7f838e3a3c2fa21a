/** How long a call may take. */
export interface CallOptions {
  /** Ends the call, which then fails with ABORTED. */
  readonly signal?: AbortSignal | undefined
  /** The most that the call takes, its retries and waits included, in milliseconds. Default: the client's. */
  readonly timeoutMs?: number | undefined
}

/** The end of a call: its time, or its caller's abort, whichever is first. */
export class CallLimit {
  readonly #controller = new AbortController()
  readonly #endsAt: number
  readonly #timer: ReturnType<typeof setTimeout>
  readonly #caller: AbortSignal | undefined
  #end: 'TIMEOUT' | 'ABORTED' | undefined

  constructor(
    caller: AbortSignal | undefined,
    readonly timeoutMs: number,
  ) {
    this.#endsAt = performance.now() + timeoutMs
    this.#timer = setTimeout(() => this.#over('TIMEOUT'), timeoutMs)
    this.#caller = caller
    caller?.addEventListener('abort', this.#onAbort)
    if (caller?.aborted === true) this.#onAbort()
  }

  /** Aborts what the call is at. */
  get signal(): AbortSignal {
    return this.#controller.signal
  }

  /** Why the call is over; undefined while it is not. */
  get end(): 'TIMEOUT' | 'ABORTED' | undefined {
    return this.#end
  }

  /** What the caller gave as the reason of its abort. */
  get reason(): unknown {
    return this.#end === 'ABORTED' ? (this.#caller?.reason as unknown) : undefined
  }

  get remainingMs(): number {
    return this.#endsAt - performance.now()
  }

  /** Waits, or until the call is over. */
  async wait(ms: number): Promise<void> {
    if (this.#end !== undefined) return
    await new Promise<void>((resolve) => {
      const done = () => {
        clearTimeout(timer)
        this.signal.removeEventListener('abort', done)
        resolve()
      }
      const timer = setTimeout(done, ms)
      this.signal.addEventListener('abort', done)
    })
  }

  /** Forgets the timer and the caller's signal. */
  dispose(): void {
    clearTimeout(this.#timer)
    this.#caller?.removeEventListener('abort', this.#onAbort)
  }

  readonly #onAbort = (): void => this.#over('ABORTED')

  #over(end: 'TIMEOUT' | 'ABORTED'): void {
    this.#end ??= end
    this.dispose()
    this.#controller.abort()
  }
}
