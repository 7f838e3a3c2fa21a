/** What can be in a {@link LinkedList}: in one at a time, which alone sets these. */
export interface Linked {
  list: object | undefined
  previous: Linked | undefined
  next: Linked | undefined
}

/** A {@link Linked} that is in no list yet. */
export abstract class Link implements Linked {
  list: object | undefined
  previous: Linked | undefined
  next: Linked | undefined
}

/**
 * A list in the order of arrival, from which an entry can leave in constant time, wherever it stands.
 *
 * In the place of a Set for what comes and goes with each request: V8 links the table that a Set has outgrown to its
 * next one, so that once one of them is old, all that is ever put into the Set lives until the next full collection.
 */
export class LinkedList<T extends Linked> {
  #first: Linked | undefined
  #last: Linked | undefined
  #size = 0

  get first(): T | undefined {
    return this.#first as T | undefined // only a T is ever added
  }

  get size(): number {
    return this.#size
  }

  add(entry: T): void {
    entry.list = this
    entry.previous = this.#last
    if (this.#last === undefined) this.#first = entry
    else this.#last.next = entry
    this.#last = entry
    this.#size++
  }

  /** @returns false where the entry is not in this list */
  remove(entry: T): boolean {
    if (entry.list !== this) return false
    const { previous, next } = entry
    if (previous === undefined) this.#first = next
    else previous.next = next
    if (next === undefined) this.#last = previous
    else next.previous = previous
    // Also so that an old entry keeps no younger ones alive.
    entry.list = entry.previous = entry.next = undefined
    this.#size--
    return true
  }

  /** The list is not to be changed meanwhile. */
  *[Symbol.iterator](): Iterator<T> {
    for (let entry = this.#first; entry !== undefined; entry = entry.next) yield entry as T
  }
}
