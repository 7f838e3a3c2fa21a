type Result = IteratorResult<unknown, undefined>

/** Somebody who waits for the next item. */
interface Pull {
  readonly resolve: (result: Result) => void
  readonly reject: (error: unknown) => void
}

/**
 * Hands items from a generator to one reader, each when it is asked for: nothing is made ahead, and nothing kept. What
 * ends the reader's side ends the generator.
 */
export class ItemChannel {
  readonly #pulls: Pull[] = []
  #isOver = false
  /** Told to the next who asks, once. */
  #error: { readonly error: Error } | undefined
  /** Wakes the pump. */
  #wake: (() => void) | undefined
  #pumping: Promise<unknown> | undefined

  /** When the generator was made, by `performance.now()`; undefined before. */
  beganAt: number | undefined

  /** Whether nothing more comes. */
  get isOver(): boolean {
    return this.#isOver
  }

  /** The next item, once it is made; `done` after the last. Rejects once with what ended it. */
  next(): Promise<Result> {
    if (!this.#isOver) {
      return new Promise((resolve, reject) => {
        this.#pulls.push({ resolve, reject })
        this.#wake?.()
      })
    }
    const failure = this.#error
    this.#error = undefined
    return failure === undefined ? Promise.resolve(end) : Promise.reject(failure.error)
  }

  /** Ends the reader's side, by an error where there is one. Only the first call counts. */
  end(error?: Error): void {
    if (this.#isOver) return
    this.#isOver = true
    if (error !== undefined) this.#error = { error }
    for (const { resolve, reject } of this.#pulls.splice(0)) this.next().then(resolve, reject)
    this.#wake?.()
  }

  /** Settles once the generator has ended, or at once where there is none. */
  async ended(): Promise<void> {
    await this.#pumping?.catch(() => {})
  }

  /**
   * Asks a generator for as many items as are asked for here, until it ends, the reader's side does, or `signal` aborts:
   * then it is told to return.
   * @returns the time it took to make items, in milliseconds, without the waits for the reader
   * @throws what the generator does
   */
  pump(items: AsyncIterator<unknown> | Iterator<unknown>, signal: AbortSignal): Promise<number> {
    this.beganAt = performance.now()
    const pumping = this.#pump(items, signal)
    this.#pumping = pumping
    return pumping
  }

  async #pump(items: AsyncIterator<unknown> | Iterator<unknown>, signal: AbortSignal): Promise<number> {
    let computeMs = 0
    let isExhausted = false
    const wake = () => this.#wake?.()
    signal.addEventListener('abort', wake)
    try {
      while (await this.#isAsked(signal)) {
        const startedAt = performance.now()
        isExhausted = true // one that throws has ended
        const result: IteratorResult<unknown> = await items.next()
        computeMs += performance.now() - startedAt
        if (result.done === true) break
        isExhausted = false
        this.#pulls.shift()?.resolve({ value: result.value })
      }
    } finally {
      signal.removeEventListener('abort', wake)
      if (!isExhausted) await items.return?.()
    }
    return computeMs
  }

  /** Waits until an item is asked for. @returns false where none will be any more */
  async #isAsked(signal: AbortSignal): Promise<boolean> {
    while (this.#pulls.length === 0 && !this.#isOver && !signal.aborted) {
      await new Promise<void>((resolve) => (this.#wake = resolve))
      this.#wake = undefined
    }
    return !this.#isOver && !signal.aborted
  }
}

const end: Result = { value: undefined, done: true }
