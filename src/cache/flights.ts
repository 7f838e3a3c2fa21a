/**
 * What is under way, by key. A Map of places in a list, rather than of what is there: the tables that a Map outgrows keep
 * what it holds alive until the next full collection (see LinkedList), and of numbers that is nothing.
 */
export class Flights<F> {
  readonly #places = new Map<string, number>()
  readonly #flights: (F | undefined)[] = []
  readonly #free: number[] = []

  get(key: string): F | undefined {
    const place = this.#places.get(key)
    return place === undefined ? undefined : this.#flights[place]
  }

  /** Puts a flight in the place of the one of its key, if there is one. */
  set(key: string, flight: F): void {
    const place = this.#places.get(key) ?? this.#free.pop() ?? this.#flights.length
    this.#places.set(key, place)
    this.#flights[place] = flight
  }

  delete(key: string): void {
    const place = this.#places.get(key)
    if (place === undefined) return
    this.#places.delete(key)
    this.#flights[place] = undefined
    this.#free.push(place)
  }
}
