import type { Lease } from './lease.js'
import type { ModelVersion } from './version.js'

/** A version that somebody works with beside those that serve. */
export interface Borrowed {
  readonly version: ModelVersion
  readonly lease: Lease
}

/** Versions that are only loaded for somebody who works with them. */
export class Loans {
  /** How many work with each. */
  readonly #borrowers = new Map<string, number>()

  has(version: string): boolean {
    return this.#borrowers.has(version)
  }

  lend(version: string): void {
    this.#borrowers.set(version, (this.#borrowers.get(version) ?? 0) + 1)
  }

  /** Somebody else wants a version loaded, or unloaded: it is on loan no longer. */
  end(version: string): void {
    this.#borrowers.delete(version)
  }

  endAll(): void {
    this.#borrowers.clear()
  }

  /** @returns whether nobody wants it loaded any more */
  giveBack(version: string): boolean {
    const borrowers = this.#borrowers.get(version)
    if (borrowers === undefined) return false
    if (borrowers > 1) this.#borrowers.set(version, borrowers - 1)
    else this.#borrowers.delete(version)
    return borrowers === 1
  }
}
