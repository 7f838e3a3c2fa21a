import { EventEmitter, once } from 'node:events'
import { ServingError } from '../src/errors.js'

type Step = { readonly item: unknown } | { readonly error: Error } | { readonly isEnd: true }

interface Running {
  readonly signal: AbortSignal
  readonly row: unknown
  give: (step: Step) => void
  isAsked: boolean
  hasEnded: boolean
}

/** What a model's streams yield, made by the test: an item for each call of {@link give}, of one stream after another. */
export class HandStream {
  /** Every stream that has begun, in order. */
  readonly runs: Running[] = []
  readonly #events = new EventEmitter()

  /** The `stream` of a custom model. It heeds its signal. */
  readonly stream = (
    _resource: unknown,
    row: unknown,
    { signal }: { readonly signal: AbortSignal },
  ): AsyncGenerator => this.#generate(row, signal)

  async *#generate(row: unknown, signal: AbortSignal): AsyncGenerator {
    const run: Running = { signal, row, give: () => {}, isAsked: false, hasEnded: false }
    this.runs.push(run)
    this.#events.emit('change')
    try {
      for (;;) {
        const step = await this.#step(run)
        if ('error' in step) throw step.error
        if ('isEnd' in step) return
        yield step.item
      }
    } finally {
      run.hasEnded = true
      this.#events.emit('change')
    }
  }

  async #step(run: Running): Promise<Step> {
    const { signal } = run
    const step = new Promise<Step>((resolve) => (run.give = resolve))
    const aborted = new Promise<Step>((resolve) => {
      signal.addEventListener('abort', () => resolve({ error: new ServingError('ABORTED', 'heeded') }))
    })
    run.isAsked = true
    this.#events.emit('change')
    const taken = await Promise.race([step, aborted])
    run.isAsked = false
    return taken
  }

  /** Waits until the last stream, or the one of an index, is asked for an item, and gives it. */
  async give(item: unknown, index?: number): Promise<void> {
    ;(await this.#asked(index)).give({ item })
  }

  async fail(error: Error, index?: number): Promise<void> {
    ;(await this.#asked(index)).give({ error })
  }

  async end(index?: number): Promise<void> {
    ;(await this.#asked(index)).give({ isEnd: true })
  }

  async #asked(index = Math.max(0, this.runs.length - 1)): Promise<Running> {
    for (;;) {
      const run = this.runs[index]
      if (run?.isAsked === true) {
        run.isAsked = false
        return run
      }
      await this.#change()
    }
  }

  /** Waits until so many streams have begun. */
  async began(count = 1): Promise<void> {
    while (this.runs.length < count) await this.#change()
  }

  /** Waits until the stream of an index has ended, be it by itself or told to return. */
  async ended(index = 0): Promise<void> {
    while (this.runs[index]?.hasEnded !== true) await this.#change()
  }

  async #change(): Promise<void> {
    await once(this.#events, 'change')
  }
}
