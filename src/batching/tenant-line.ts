import { LinkedList } from '../linked-list.js'
import type { Waiting } from './waiting.js'

/** What a tenant was given, in rows on the queue's scale, and how many of its requests wait. */
export interface Tenant {
  servedRows: number
  waiting: number
}

/** A tenant's place in a line, by what it was given and when its first request came, as they were when it was placed. */
interface Place<W extends Waiting> {
  readonly name: string
  tenant: Tenant
  /** Once it is empty the place is nobody's any more, unless there is no other. */
  readonly requests: LinkedList<W>
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
  #size = 0

  get isEmpty(): boolean {
    return this.#size === 0
  }

  add(request: W, tenant: Tenant): void {
    this.#size++
    const { tenant: name, sequence } = request
    const { servedRows } = tenant
    let place = this.#byTenant.get(name)
    if (place === undefined || (place.requests.size === 0 && this.#places.length > 1)) {
      place = { name, tenant, requests: new LinkedList(), servedRows, sequence }
      this.#byTenant.set(name, place)
      this.#places.push(place)
      this.#rise(this.#places.length - 1)
    } else if (place.requests.size === 0) {
      place.tenant = tenant
      place.servedRows = servedRows
      place.sequence = sequence
    }
    place.requests.add(request)
  }

  /** @returns false where the request did not wait */
  remove(request: W): boolean {
    const place = this.#byTenant.get(request.tenant)
    if (place?.requests.remove(request) !== true) return false
    this.#size--
    // The only one stays: what comes next is mostly the same tenant's.
    if (place.requests.size > 0 || this.#places.length === 1) return true
    this.#byTenant.delete(request.tenant)
    if (this.#places.length > 2 * this.#byTenant.size + 8) this.#clear()
    return true
  }

  /** The request whose turn it is. */
  next(): W | undefined {
    for (;;) {
      const front = this.#places[0]
      if (front === undefined) return undefined
      const { first } = front.requests
      if (first === undefined && this.#places.length === 1) return undefined
      if (first === undefined) this.#leave(front)
      else if (this.#places.length === 1 || this.#isRight(front, first)) return first
    }
  }

  /** Each tenant's request that came first. */
  *firsts(): Iterable<W> {
    for (const { requests } of this.#byTenant.values()) {
      if (requests.first !== undefined) yield requests.first
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

  /** Takes the place at the front away, which is nobody's. */
  #leave(place: Place<W>): void {
    this.#forget(place)
    const last = this.#places.pop()
    if (last === undefined || this.#places.length === 0) return
    this.#places[0] = last
    this.#sink(0)
  }

  #forget(place: Place<W>): void {
    if (this.#byTenant.get(place.name) === place) this.#byTenant.delete(place.name)
  }

  /** Takes away what is nobody's place any more, wherever it is. */
  #clear(): void {
    const places = this.#places
    this.#places = []
    for (const place of places) {
      if (place.requests.size === 0) {
        this.#forget(place)
        continue
      }
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
