import { median } from '../statistics.js'

/**
 * What one server did in one round. What could not be measured is left out or NaN.
 * @typedef {object} Figures
 * @property {number} requestsPerSecond
 * @property {number} p50Ms
 * @property {number} p99Ms
 * @property {number} failed
 * @property {number} cpuMs user and system time of the server's processes, a request
 * @property {number} [healthP99Ms] `/health` under that load
 * @property {number} [eventLoopP99Ms]
 */

/** @typedef {{ model: string, server: string, concurrency: number }} Cell */

/** The rounds of each server with each model at each concurrency. */
export class Results {
  #rounds = /** @type {Map<string, Figures[]>} */ (new Map())

  /**
   * @param {Cell} cell
   * @param {Figures} figures
   */
  add(cell, figures) {
    const key = keyOf(cell)
    this.#rounds.set(key, [...(this.#rounds.get(key) ?? []), figures])
  }

  /**
   * @param {Cell} cell
   * @returns {readonly Figures[]}
   */
  rounds(cell) {
    return this.#rounds.get(keyOf(cell)) ?? []
  }

  /**
   * The median of the rounds; NaN where it was not measured.
   * @param {Cell} cell
   * @param {keyof Figures} figure
   */
  median(cell, figure) {
    return median(this.rounds(cell).map((round) => round[figure] ?? NaN))
  }

  /**
   * The median of the rounds' own ratios, so that what else the machine did in a round meets both sides.
   * @param {Cell} cell
   * @param {Cell} base
   * @param {keyof Figures} figure
   * @param {number} [added] to each round of the base
   */
  ratio(cell, base, figure, added = 0) {
    const bases = this.rounds(base)
    return median(
      this.rounds(cell).map((round, i) => (round[figure] ?? NaN) / ((bases[i]?.[figure] ?? NaN) + added)),
    )
  }
}

/** @param {Cell} cell */
const keyOf = ({ model, server, concurrency }) => JSON.stringify([model, server, concurrency])
