/** 0 goes first. */
export type Priority = 0 | 1 | 2

/** What a queue needs to know of what waits in it. */
export interface Waiting {
  readonly rows: number
  readonly bytes: number
  /** Only requests of one signature share a batch. */
  readonly signature: string
  readonly priority: Priority
  /** The order of arrival. */
  readonly sequence: number
}

/**
 * Requests that wait for a batch: by priority, then by arrival, in lanes of one signature each. Adding and
 * removing take constant time, so that an aborted request leaves at once, wherever it stands.
 */
export class WaitingQueue<W extends Waiting> {
  /** By signature, then priority; a set keeps the order of arrival. */
  readonly #lanes = new Map<string, readonly [Set<W>, Set<W>, Set<W>]>()
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
    if (lane === undefined) this.#lanes.set(request.signature, (lane = [new Set(), new Set(), new Set()]))
    lane[request.priority].add(request)
    this.#rows += request.rows
    this.#bytes += request.bytes
    this.#size++
  }

  /** @returns false where the request did not wait */
  remove(request: W): boolean {
    const lane = this.#lanes.get(request.signature)
    if (lane?.[request.priority].delete(request) !== true) return false
    if (lane.every((line) => line.size === 0)) this.#lanes.delete(request.signature)
    this.#rows -= request.rows
    this.#bytes -= request.bytes
    this.#size--
    return true
  }

  /** The request whose turn it is: the oldest of the highest priority. */
  head(): W | undefined {
    let head: W | undefined
    for (const lane of this.#lanes.values()) {
      const first = firstOf(lane)
      if (first !== undefined && (head === undefined || goesBefore(first, head))) head = first
    }
    return head
  }

  /**
   * Takes out the head and what shares its signature, as far as `maxRows` go; always at least the head, however
   * large. It ends at the first that does not fit, so that a large request is not passed over for ever.
   */
  take(maxRows: number): W[] {
    const head = this.head()
    if (head === undefined) return []
    const taken: W[] = []
    let rows = 0
    for (const line of this.#lanes.get(head.signature) ?? []) {
      for (const request of line) {
        if (taken.length > 0 && rows + request.rows > maxRows) return this.#without(taken)
        taken.push(request)
        rows += request.rows
      }
    }
    return this.#without(taken)
  }

  #without(taken: W[]): W[] {
    for (const request of taken) this.remove(request)
    return taken
  }

  *[Symbol.iterator](): Iterator<W> {
    for (const lane of this.#lanes.values()) for (const line of lane) yield* line
  }
}

function firstOf<W>(lane: readonly Set<W>[]): W | undefined {
  for (const line of lane) {
    for (const request of line) return request
  }
  return undefined
}

function goesBefore(a: Waiting, b: Waiting): boolean {
  return a.priority < b.priority || (a.priority === b.priority && a.sequence < b.sequence)
}
