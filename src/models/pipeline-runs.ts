import type { BatchAnswer } from '../batching/batch-run.js'
import type { SubmitOptions } from '../batching/batcher.js'
import { LimitsWatch } from '../batching/limits-watch.js'
import { systemClock, type Clock } from '../clock.js'
import { asServingError, ServingError } from '../errors.js'
import { passedOn, type Outcome } from './classification.js'
import type { Awaitable } from './codec.js'
import { quote } from './names.js'

/** In whose name a pipeline runs. */
export interface PipelineCaller {
  readonly requestId: string
  /** Whether it is a pipeline too, which this one is a stage of. */
  readonly isPipeline: boolean
  /** @param limits of the run: its signal aborts once nobody waits for the pipeline's answer any more */
  ask(request: StageRequest, limits: RunLimits): Promise<Outcome>
  /** What a run that ended with `error` tells the caller. */
  outward(error: unknown): ServingError
}

/** What a pipeline's code asks of a stage. */
export interface StageRequest {
  readonly model: string
  readonly input: unknown
  /** As the user's code gave them. */
  readonly options: object | undefined
  /** Whether the input is the very one that the pipeline was given. */
  readonly isCallersInput: boolean
}

type RunLimits = SubmitOptions & { readonly signal: AbortSignal }

/** What the user's function is given beside the input, without the types of the models. */
interface RunContext {
  readonly predict: (model: string, input: unknown, options?: object) => Promise<Outcome>
  readonly signal: AbortSignal
  readonly requestId: string
}

/** A pipeline's function over predictions. */
export type PipelineRun = (input: never, context: RunContext) => Awaitable<unknown>

export interface PipelineLimits extends SubmitOptions {
  /** Who asks the stages; models that are no pipeline need none. */
  readonly caller?: PipelineCaller | undefined
}

/** Why the signal of a run aborts that has its answer: made once, since its stack costs more than the rest of a run. */
const answered = new ServingError('ABORTED', 'the pipeline has answered')

interface Run {
  readonly begin: () => void
  /** Answers the caller with an error. */
  readonly giveUp: (error: ServingError) => void
}

/**
 * The runs of a pipeline. A run takes no permit and nobody's turn, since its stages need them; all that is bounded is
 * how many there are. One beyond is refused at once, or waits where its caller says so: but never a stage of another
 * run, which holds a place of its own and might be waited for in turn.
 */
export class PipelineRuns {
  readonly #run: PipelineRun
  readonly #maxInFlight: number
  readonly #onRun: (computeMs: number) => void
  readonly #limits: LimitsWatch
  /** All that a caller waits for, begun or not. */
  readonly #awaited = new Set<Run>()
  /** Those that wait for room. */
  readonly #blocked = new Set<Run>()
  #running = 0
  #closed: ServingError | undefined
  #isLeft = false
  readonly #whenIdle = new Set<() => void>()

  constructor(
    run: PipelineRun,
    maxInFlight: number,
    onRun: (computeMs: number) => void = () => {},
    clock: Clock = systemClock,
  ) {
    this.#run = run
    this.#maxInFlight = maxInFlight
    this.#onRun = onRun
    this.#limits = new LimitsWatch(clock)
  }

  get waitingRows(): number {
    return this.#blocked.size
  }

  /**
   * Runs the one row of an input.
   * @throws ServingError QUEUE_FULL at once; ABORTED or TIMEOUT as soon as the limit is met; what the caller makes of
   *   what the function throws
   */
  submit(input: unknown, limits: PipelineLimits = {}): Promise<BatchAnswer<unknown>> {
    return new Promise((resolve, reject) => {
      const { caller } = limits
      const [row] = (input as { readonly rows: readonly unknown[] }).rows
      if (caller === undefined) throw new ServingError('INTERNAL', 'nobody asks the stages of the pipeline')
      const isFull = this.#running >= this.#maxInFlight
      const waits = limits.whenFull === 'wait' && !caller.isPipeline
      const refusal =
        this.#closed ?? this.#limits.expired(limits) ?? (isFull && !waits ? this.#full() : undefined)
      if (refusal !== undefined) return reject(refusal)
      const submittedAt = performance.now()
      const ended = new AbortController()
      const run: Run = {
        begin: () => {
          this.#blocked.delete(run)
          const queueMs = performance.now() - submittedAt
          this.#execute(row, caller, { ...limits, signal: ended.signal }).then(
            ({ result, computeMs }) => {
              end(answered)
              resolve({ result: [result], queueMs, computeMs, batchRows: 1 })
            },
            (error: unknown) => run.giveUp(asServingError(error)),
          )
        },
        giveUp: (error) => {
          end(error)
          reject(error)
        },
      }
      const end = (reason: ServingError) => {
        unwatch()
        this.#awaited.delete(run)
        this.#blocked.delete(run)
        // Also after an answer: what was asked of a stage and is not waited for is nobody's any more.
        ended.abort(reason)
      }
      const unwatch = this.#limits.watch(limits, run.giveUp)
      this.#awaited.add(run)
      if (isFull) this.#blocked.add(run)
      else run.begin()
    })
  }

  async #execute(row: unknown, caller: PipelineCaller, limits: RunLimits) {
    const { signal } = limits
    this.#running++
    const startedAt = performance.now()
    const answers = new Set<unknown>()
    const predict: RunContext['predict'] = (model, input, options) => {
      const request = { model, input, options, isCallersInput: input === row }
      const answer = ask(caller, request, limits).then((outcome) => {
        answers.add(outcome)
        return outcome
      })
      answer.catch(() => {}) // where the function does not wait for it, it is nobody's
      return answer
    }
    try {
      const answer = await this.#run(row as never, { predict, signal, requestId: caller.requestId })
      const computeMs = performance.now() - startedAt
      this.#onRun(computeMs)
      return { result: answers.has(answer) ? passedOn(answer as Outcome) : answer, computeMs }
    } catch (error) {
      throw caller.outward(error)
    } finally {
      this.#ended()
    }
  }

  #ended(): void {
    if (--this.#running === 0) this.#tellIdle()
    const [next] = this.#blocked
    if (this.#running < this.#maxInFlight) next?.begin()
  }

  #full(): ServingError {
    const message = `${this.#running} runs of at most ${this.#maxInFlight} are under way.`
    return new ServingError('QUEUE_FULL', message, { headers: { 'retry-after': '1' } })
  }

  /** Refuses what waits, and every newcomer; runs under way go on. */
  close(error: ServingError): void {
    this.#closed ??= error
    for (const run of [...this.#blocked]) run.giveUp(error)
  }

  /** {@link close}, and answers every caller with the error. */
  cutOff(error: ServingError): void {
    this.close(error)
    for (const run of [...this.#awaited]) run.giveUp(error)
  }

  /** Waits until no run is under way, or they are left behind. */
  async ended(): Promise<void> {
    if (this.#running > 0 && !this.#isLeft) await new Promise<void>((resolve) => this.#whenIdle.add(resolve))
  }

  /** Leaves the runs under way behind. */
  leave(): void {
    this.#isLeft = true
    this.#tellIdle()
  }

  #tellIdle(): void {
    for (const resolve of this.#whenIdle) resolve()
    this.#whenIdle.clear()
  }
}

async function ask(caller: PipelineCaller, request: StageRequest, limits: RunLimits): Promise<Outcome> {
  if (!limits.signal.aborted) return caller.ask(request, limits)
  throw new ServingError(
    'ABORTED',
    `nobody waits for the pipeline any more: ${quote(request.model)} is not asked.`,
  )
}
