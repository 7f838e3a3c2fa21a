import type { Linked } from '../linked-list.js'
import { TenantLine, type Tenant } from './tenant-line.js'

/** 0 goes first. */
export type Priority = 0 | 1 | 2

/** What a queue needs to know of what waits in it. */
export interface Waiting extends Linked {
  readonly rows: number
  readonly bytes: number
  /** What one row takes part in: a batch costs its rows times the most of these. */
  readonly rowElements: number
  /** Only requests of one signature share a batch. */
  readonly signature: string
  readonly priority: Priority
  /** On whose behalf: those who wait share the runs among them. */
  readonly tenant: string
  /** The order of arrival. */
  readonly sequence: number
}

/** What a batch may hold. */
export interface BatchBounds {
  readonly maxRows: number
  /** Rows times the elements of the longest. */
  readonly maxElements: number
}

/** Requests of one signature, by priority. */
type Lane<W extends Waiting> = readonly [TenantLine<W>, TenantLine<W>, TenantLine<W>]

/** Tenants that are remembered beside those who wait. */
const mostTenants = 4096

/** Every so many batches one begins with the request that has waited longest, whatever its priority. */
const oldestEvery = 8

/**
 * Requests that wait for a batch: by priority, then by whose turn it is, then by arrival, in lanes of one signature
 * each. An aborted request leaves at once, wherever it stands.
 *
 * Between tenants the next is the one that was given the fewest rows: start-time fair queueing (Goyal, Vin, Cheng,
 * 1996). One that had nothing waiting goes on from where the others are now, and has no claim on the time before.
 */
export class WaitingQueue<W extends Waiting> {
  readonly #lanes = new Map<string, Lane<W>>()
  readonly #tenants = new Map<string, Tenant>()
  /** By priority: how far the tenant had come whose turn it was last, which was the least of those that waited. */
  readonly #servedRows: [number, number, number] = [0, 0, 0]
  #batches = 0
  readonly #rowsOf: [number, number, number] = [0, 0, 0]
  #rows = 0
  #bytes = 0
  #size = 0

  get rows(): number {
    return this.#rows
  }

  get bytes(): number {
    return this.#bytes
  }

  get size(): number {
    return this.#size
  }

  add(request: W): void {
    let lane = this.#lanes.get(request.signature)
    if (lane === undefined) {
      lane = [new TenantLine(), new TenantLine(), new TenantLine()]
      this.#lanes.set(request.signature, lane)
    }
    const tenant = this.#tenant(request)
    tenant.waiting++
    lane[request.priority].add(request, tenant)
    this.#rows += request.rows
    this.#rowsOf[request.priority] += request.rows
    this.#bytes += request.bytes
    this.#size++
  }

  #tenant({ tenant: name, priority }: W): Tenant {
    let tenant = this.#tenants.get(name)
    if (tenant === undefined) this.#tenants.set(name, (tenant = { servedRows: 0, waiting: 0 }))
    if (tenant.waiting === 0) tenant.servedRows = Math.max(tenant.servedRows, this.#servedRows[priority])
    return tenant
  }

  /** @returns false where the request did not wait */
  remove(request: W): boolean {
    const lane = this.#lanes.get(request.signature)
    if (lane?.[request.priority].remove(request) !== true) return false
    // The last of its kind stays, empty: what comes next is mostly like it.
    if (this.#lanes.size > 1 && lane.every(({ isEmpty }) => isEmpty)) this.#lanes.delete(request.signature)
    this.#leave(request)
    this.#rows -= request.rows
    this.#rowsOf[request.priority] -= request.rows
    this.#bytes -= request.bytes
    this.#size--
    if (this.#size === 0 && this.#tenants.size > 1) this.#tenants.clear()
    return true
  }

  #leave({ tenant: name, priority }: W): void {
    const tenant = this.#tenants.get(name)
    if (tenant === undefined || --tenant.waiting > 0) return
    // One that is ahead of the others is remembered until they have caught up, within bounds.
    const isAhead = tenant.servedRows > this.#servedRows[priority]
    if (!isAhead || this.#tenants.size > mostTenants) this.#tenants.delete(name)
  }

  /** Rows that go before a newcomer of this priority, but for turns of other tenants and of the oldest. */
  rowsBefore(priority: Priority): number {
    const [high, normal] = this.#rowsOf
    if (priority === 0) return high
    return priority === 1 ? high + normal : this.#rows
  }

  /** The request whose turn it is. */
  head(): W | undefined {
    let head: W | undefined
    for (const lane of this.#lanes.values()) {
      const next = this.#next(lane)
      if (next !== undefined && (head === undefined || this.#goesBefore(next, head))) head = next
    }
    return head
  }

  /** The request that has waited longest. */
  #oldest(): W | undefined {
    let oldest: W | undefined
    for (const lane of this.#lanes.values()) {
      for (const line of lane) {
        for (const first of line.firsts()) {
          if (oldest === undefined || first.sequence < oldest.sequence) oldest = first
        }
      }
    }
    return oldest
  }

  /** Whose turn it is in a lane. */
  #next(lane: Lane<W>): W | undefined {
    const [high, normal, low] = lane
    return high.next() ?? normal.next() ?? low.next()
  }

  #goesBefore(a: W, b: W): boolean {
    if (a.priority !== b.priority) return a.priority < b.priority
    if (a.tenant !== b.tenant) {
      const ahead = this.#served(a) - this.#served(b)
      if (ahead !== 0) return ahead < 0
    }
    return a.sequence < b.sequence
  }

  #served({ tenant }: W): number {
    return this.#tenants.get(tenant)?.servedRows ?? 0
  }

  /**
   * Takes out the request whose turn it is and what shares its signature, as far as the bounds go; always at least
   * that one, however large. It ends at the first that does not fit, so that a large request is not passed over for
   * ever; and of eight batches one begins with the oldest request, so that none of a low priority is.
   *
   * @param boundsOf what a batch of a signature may hold
   */
  take(boundsOf: (signature: string) => BatchBounds): W[] {
    const isOldestsTurn = ++this.#batches % oldestEvery === 0
    let next = isOldestsTurn ? this.#oldest() : this.head()
    if (next === undefined) return []
    // Not by those that share the batch, nor in the oldest's turn: they may be far ahead of the others.
    if (!isOldestsTurn) this.#servedRows[next.priority] = this.#served(next)
    const { maxRows, maxElements } = boundsOf(next.signature)
    const lane = this.#lanes.get(next.signature)
    const taken: W[] = []
    let rows = 0
    let rowElements = 0
    while (next !== undefined) {
      rowElements = Math.max(rowElements, next.rowElements)
      const fits = rows + next.rows <= maxRows && (rows + next.rows) * rowElements <= maxElements
      if (taken.length > 0 && !fits) break
      taken.push(next)
      rows += next.rows
      this.#serve(next)
      next = lane === undefined ? undefined : this.#next(lane)
    }
    return taken
  }

  #serve(request: W): void {
    const tenant = this.#tenants.get(request.tenant)
    if (tenant !== undefined) tenant.servedRows += request.rows
    this.remove(request)
  }

  *[Symbol.iterator](): Iterator<W> {
    for (const lane of this.#lanes.values()) {
      for (const line of lane) yield* line
    }
  }
}
