import { ServingError } from '../errors.js'

/** The versions of a model that must not serve, each with why. */
export class Quarantine {
  readonly #reasons = new Map<string, string>()

  /** @param decided those that are in it from the start */
  constructor(
    private readonly model: string,
    decided: Readonly<Record<string, { readonly reason: string }>> = {},
  ) {
    for (const [version, { reason }] of Object.entries(decided)) this.add(version, reason)
  }

  add(version: string, reason: string): void {
    this.#reasons.set(version, reason)
  }

  /** @throws ServingError CONFLICT where the version is in none */
  release(version: string): void {
    this.checkHas(version)
    this.#reasons.delete(version)
  }

  /** @throws ServingError CONFLICT where the version is in none */
  checkHas(version: string): void {
    if (this.#reasons.has(version)) return
    throw new ServingError('CONFLICT', `${this.model}@${version} is in no quarantine.`)
  }

  has(version: string): boolean {
    return this.#reasons.has(version)
  }

  /** Why a version is in quarantine; undefined where it is in none. */
  reasonOf(version: string): string | undefined {
    return this.#reasons.get(version)
  }

  /** @throws ServingError CONFLICT for a version in quarantine */
  check(version: string): void {
    const reason = this.#reasons.get(version)
    if (reason === undefined) return
    throw new ServingError('CONFLICT', `${this.model}@${version} is in quarantine: ${reason}`)
  }
}
