/** Arrivals at a constant rate: request i is meant to start at `i / perSecond`. */
export class ConstantArrivals {
  #perSecond
  /** How many arrive in all. */
  total

  /**
   * @param {number} perSecond
   * @param {number} seconds
   */
  constructor(perSecond, seconds) {
    this.#perSecond = perSecond
    this.total = Math.ceil(perSecond * seconds)
  }

  /**
   * When a request is meant to start, in milliseconds from the beginning.
   * @param {number} index
   */
  startMs(index) {
    return (index / this.#perSecond) * 1000
  }

  /**
   * How many were meant to start until a time, that time included.
   * @param {number} elapsedMs
   */
  dueBy(elapsedMs) {
    return Math.min(this.total, Math.floor((elapsedMs / 1000) * this.#perSecond) + 1)
  }
}
