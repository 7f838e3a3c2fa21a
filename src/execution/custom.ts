import { asServingError, ServingError } from '../errors.js'

/** The user's function over rows: gives an answer for each, in their order. */
export type CustomRun = (
  resource: never,
  rows: never[],
  context: { readonly signal: AbortSignal },
) => readonly unknown[] | Promise<readonly unknown[]>

export interface CustomSessionOptions {
  readonly run: CustomRun
  readonly dispose?: ((resource: never) => void | Promise<void>) | undefined
  /** Calls of `run` that may be under way at once. Default: 8. */
  readonly concurrency?: number | undefined
}

/**
 * The user's own code as what runs batches. It takes no permit: what it waits for is not known to compute here, and
 * a prediction that it makes itself must not wait for its own end.
 */
export class CustomSession {
  readonly slots: number
  readonly #resource: unknown
  readonly #options: CustomSessionOptions
  #running = 0
  #idle: (() => void) | undefined
  #closing: Promise<void> | undefined

  constructor(resource: unknown, options: CustomSessionOptions) {
    this.#resource = resource
    this.#options = options
    this.slots = options.concurrency ?? 8
  }

  /** @throws ServingError INFERENCE_FAILED, INVALID_CODEC where it gives not one answer a row, or what `run` throws */
  async run(
    rows: readonly unknown[],
    context: { readonly signal: AbortSignal },
  ): Promise<{ result: readonly unknown[]; computeMs: number }> {
    if (this.#closing !== undefined) throw new ServingError('CLOSED', 'the model is closed')
    this.#running++
    const started = performance.now()
    try {
      const result: unknown = await this.#options.run(this.#resource as never, [...rows] as never[], context)
      if (!Array.isArray(result) || result.length !== rows.length) {
        const got = Array.isArray(result) ? `${result.length}` : `no array`
        throw new ServingError(
          'INVALID_CODEC',
          `run must give an array of ${rows.length} answers; got ${got}.`,
        )
      }
      return { result, computeMs: performance.now() - started }
    } catch (error) {
      throw asServingError(error, 'INFERENCE_FAILED', 'run failed')
    } finally {
      if (--this.#running === 0) this.#idle?.()
    }
  }

  /**
   * Waits for the runs under way, then disposes of the resource. A second call joins the first, and may cut it off.
   * @param isCutOff whether to leave the runs under way behind
   */
  close(isCutOff = false): Promise<void> {
    const closing = (this.#closing ??= this.#close())
    if (isCutOff) this.#idle?.()
    return closing
  }

  async #close(): Promise<void> {
    if (this.#running > 0) await new Promise<void>((resolve) => (this.#idle = resolve))
    await this.#options.dispose?.(this.#resource as never)
  }
}
