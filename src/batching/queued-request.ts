import { ServingError } from '../errors.js'
import { Link, type Linked } from '../linked-list.js'
import type { BatchAnswer, BatchRequest } from './batch-run.js'
import type { Priority, Waiting } from './waiting.js'

/** What is known of a request when it comes. */
interface Arrival<I> extends Omit<Waiting, keyof Linked> {
  readonly input: I
  readonly submittedAt: number
  /** When it is given up. */
  readonly deadlineMs: number | undefined
  /** When it is wanted by, whether it is given up then or not. */
  readonly wantedByMs: number | undefined
}

/** A request from its submission to its answer. */
export class QueuedRequest<I, R> extends Link implements Waiting, BatchRequest<I, R> {
  readonly input: I
  readonly rows: number
  readonly bytes: number
  readonly rowElements: number
  readonly signature: string
  readonly tenant: string
  readonly sequence: number
  readonly submittedAt: number
  readonly deadlineMs: number | undefined
  readonly wantedByMs: number | undefined
  priority: Priority
  settled = false
  onSettled: (() => void) | undefined
  /** Ends the watch of its limits. */
  unwatch: (() => void) | undefined

  constructor(
    private readonly resolve: (answer: BatchAnswer<R>) => void,
    private readonly reject: (error: ServingError) => void,
    arrival: Arrival<I>,
  ) {
    super()
    this.input = arrival.input
    this.rows = arrival.rows
    this.bytes = arrival.bytes
    this.rowElements = arrival.rowElements
    this.signature = arrival.signature
    this.tenant = arrival.tenant
    this.sequence = arrival.sequence
    this.submittedAt = arrival.submittedAt
    this.deadlineMs = arrival.deadlineMs
    this.wantedByMs = arrival.wantedByMs
    this.priority = arrival.priority
  }

  settle(answer: BatchAnswer<R> | ServingError): void {
    if (this.settled) return
    this.settled = true
    this.unwatch?.()
    this.onSettled?.()
    if (answer instanceof ServingError) this.reject(answer)
    else this.resolve(answer)
  }
}
