import { ServingError } from '../errors.js'
import type { BatchPlan } from './batch-plan.js'
import type { DrainRate } from './drain-rate.js'
import type { Priority, Waiting, WaitingQueue } from './waiting.js'

/** What bounds a queue. */
export interface QueueBounds {
  readonly maxQueueRows: number
  readonly maxQueueBytes: number
}

export interface Size {
  readonly rows: number
  readonly bytes: number
}

/** What asks to be let into a queue. */
export interface Candidate extends Size {
  readonly signature: string
  readonly priority: Priority
  /** When it came, which is now. */
  readonly submittedAt: number
}

/** A prediction of a wait is exceeded now and then: a deadline is only promised with this much to spare. */
export const margin = 1.1

const nothing: Size = { rows: 0, bytes: 0 }

/** Says who may wait in a queue, and refuses at once who would wait in vain. */
export class Admission {
  constructor(
    private readonly queue: Pick<WaitingQueue<Waiting>, 'rows' | 'bytes' | 'rowsBefore'>,
    private readonly bounds: QueueBounds,
    private readonly plan: BatchPlan,
    private readonly rate: DrainRate,
  ) {}

  /** @param more what is held beside the queue */
  hasRoom({ rows, bytes }: Size, more: Size = nothing): boolean {
    const { maxQueueRows, maxQueueBytes } = this.bounds
    const { queue } = this
    return queue.rows + more.rows + rows <= maxQueueRows && queue.bytes + more.bytes + bytes <= maxQueueBytes
  }

  /**
   * The refusal of a request for which there is no room.
   * @param more what is held beside the queue
   */
  full(rows: number, more: Size = nothing): ServingError {
    const { maxQueueRows, maxQueueBytes } = this.bounds
    const [heldRows, heldBytes] = [this.queue.rows + more.rows, this.queue.bytes + more.bytes]
    const held = `${heldRows} of at most ${maxQueueRows} rows and ${heldBytes} of at most ${maxQueueBytes} bytes`
    return new ServingError('QUEUE_FULL', `the queue holds ${held}; ${rows} more rows do not fit.`, {
      headers: retryAfter(heldRows * (this.rate.rowMs ?? 0)),
    })
  }

  /**
   * The refusal of a request that would miss its deadline, as far as that can be told.
   * @param dueMs when its answer is due
   * @param runningRows rows that were handed over, and are not answered
   */
  late(request: Candidate, dueMs: number, runningRows: number): ServingError | undefined {
    const neededMs = this.#neededMs(request, runningRows)
    const restMs = dueMs - request.submittedAt
    if (neededMs === undefined || neededMs * margin <= restMs) return undefined
    return new ServingError(
      'OVERLOADED',
      `an answer would take about ${Math.ceil(neededMs)} ms, and the deadline is in ${Math.floor(restMs)} ms.`,
      { headers: retryAfter(neededMs - restMs) },
    )
  }

  /** What comes before a request, and then its own run; undefined while nothing is known. */
  #neededMs(request: Candidate, runningRows: number): number | undefined {
    const { rows, signature, priority, submittedAt: now } = request
    const rowMs = this.rate.rowMs ?? this.plan.estimateMs(signature, 1)
    if (rowMs === undefined) return undefined
    const runningMs = Math.max(0, runningRows * rowMs - this.rate.sinceProgressMs(now))
    const ownRows = Math.max(rows, Math.min(rows + this.queue.rows, this.plan.capRows(signature)))
    const ownMs = this.plan.estimateMs(signature, ownRows) ?? rows * rowMs
    return runningMs + this.queue.rowsBefore(priority) * rowMs + ownMs
  }
}

/** When there may be room, in whole seconds as the header wants it. */
function retryAfter(ms: number): Record<string, string> {
  return { 'retry-after': `${Math.max(1, Math.ceil(ms / 1000))}` }
}
