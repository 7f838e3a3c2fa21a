import type { Waiting } from './waiting.js'

/** What a tenant was given, in rows on the queue's scale, and how many of its requests wait. */
export interface Tenant {
  servedRows: number
  waiting: number
}

/** A tenant's place in a line, by what it was given and when its first request came, as they were when it was placed. */
interface Place<W> {
  readonly tenant: Tenant
  /** In the order of arrival; once it is empty the place is nobody's any more. */
  readonly requests: Set<W>
  servedRows: number
  sequence: number
}

/**
 * Requests of one signature and priority. The next is of the tenant that was given the fewest rows, and of those that
 * were given as many the one that came first.
 *
 * Places are a heap, so that many tenants cost little more than one. What a tenant was given only grows while it waits:
 * a place is put right when it comes to the front.
 */
export class TenantLine<W extends Waiting> {
  readonly #byTenant = new Map<string, Place<W>>()
  #places: Place<W>[] = []

  get isEmpty(): boolean {
    return this.#byTenant.size === 0
  }

  add(request: W, tenant: Tenant): void {
    const place = this.#byTenant.get(request.tenant)
    if (place !== undefined) return void place.requests.add(request)
    const { servedRows } = tenant
    const own = { tenant, requests: new Set([request]), servedRows, sequence: request.sequence }
    this.#byTenant.set(request.tenant, own)
    this.#places.push(own)
    this.#rise(this.#places.length - 1)
  }

  /** @returns false where the request did not wait */
  remove(request: W): boolean {
    const place = this.#byTenant.get(request.tenant)
    if (place?.requests.delete(request) !== true) return false
    if (place.requests.size > 0) return true
    this.#byTenant.delete(request.tenant)
    if (this.isEmpty) this.#places = []
    else if (this.#places.length > 2 * this.#byTenant.size + 8) this.#clear()
    return true
  }

  /** The request whose turn it is. */
  next(): W | undefined {
    for (;;) {
      const front = this.#places[0]
      if (front === undefined) return undefined
      const first = firstOf(front.requests)
      if (first === undefined) this.#leave()
      else if (this.#places.length === 1 || this.#isRight(front, first)) return first
    }
  }

  /** Each tenant's request that came first. */
  *firsts(): Iterable<W> {
    for (const { requests } of this.#byTenant.values()) {
      const first = firstOf(requests)
      if (first !== undefined) yield first
    }
  }

  *[Symbol.iterator](): Iterator<W> {
    for (const { requests } of this.#byTenant.values()) yield* requests
  }

  /** Puts the place at the front right. @returns whether it was */
  #isRight(front: Place<W>, { sequence }: W): boolean {
    const { servedRows } = front.tenant
    if (front.servedRows === servedRows && front.sequence === sequence) return true
    front.servedRows = servedRows
    front.sequence = sequence
    this.#sink(0)
    return false
  }

  /** Takes the place at the front away. */
  #leave(): void {
    const last = this.#places.pop()
    if (last === undefined || this.#places.length === 0) return
    this.#places[0] = last
    this.#sink(0)
  }

  /** Takes away what is nobody's place any more, wherever it is. */
  #clear(): void {
    const left = this.#places.filter(({ requests }) => requests.size > 0)
    this.#places = []
    for (const place of left) {
      this.#places.push(place)
      this.#rise(this.#places.length - 1)
    }
  }

  #rise(from: number): void {
    for (let at = from; at > 0;) {
      const above = (at - 1) >> 1
      if (!this.#swapIfBefore(at, above)) return
      at = above
    }
  }

  #sink(from: number): void {
    for (let at = from; ;) {
      const [left, right] = [2 * at + 1, 2 * at + 2]
      const below = this.#goesBefore(right, left) ? right : left
      if (!this.#swapIfBefore(below, at)) return
      at = below
    }
  }

  /** Where the lower place goes before the upper one, they change. @returns whether they did */
  #swapIfBefore(lower: number, upper: number): boolean {
    if (!this.#goesBefore(lower, upper)) return false
    const [a, b] = [this.#places[lower], this.#places[upper]]
    if (a === undefined || b === undefined) return false
    this.#places[lower] = b
    this.#places[upper] = a
    return true
  }

  #goesBefore(i: number, j: number): boolean {
    const [a, b] = [this.#places[i], this.#places[j]]
    if (a === undefined || b === undefined) return false
    return a.servedRows === b.servedRows ? a.sequence < b.sequence : a.servedRows < b.servedRows
  }
}

function firstOf<W>(requests: ReadonlySet<W>): W | undefined {
  for (const request of requests) return request
  return undefined
}
