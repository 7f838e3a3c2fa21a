import { hash } from 'node:crypto'
import { fields, provided, text, type Fields } from '../options.js'

export interface CanaryOptions {
  /** The version that is to answer a share of the requests; it is loaded where needed. */
  readonly version: string
  /** Its share of the requests that name no version, from 0 to 100, fractions allowed. */
  readonly percent: number
}

export const canaryFields: Fields<CanaryOptions> = {
  version: text,
  percent: provided(
    'a number from 0 to 100',
    (value) => typeof value === 'number' && value >= 0 && value <= 100,
    { type: 'number', minimum: 0, maximum: 100 },
  ),
}

/** @throws ServingError INVALID_OPTIONS */
export function checkCanary(options: CanaryOptions): void {
  fields(canaryFields, ['version', 'percent']).inside?.(options, 'canary()', 'INVALID_OPTIONS')
}

/**
 * Where a key of a model lies in [0, 1): the first 53 bits of the SHA-256 of `<model>\0<key>`, as a fraction. It depends
 * on nothing else, so that all replicas agree, and a share that grows keeps the keys it had.
 */
export function positionOf(model: string, key: string): number {
  const digest = hash('sha256', `${model}\0${key}`, 'buffer')
  return (digest.readUInt32BE(0) * 2 ** 21 + (digest.readUInt32BE(4) >>> 11)) / 2 ** 53
}

/** A share of a model's requests for another version than the current one. */
export class Canary implements CanaryOptions {
  readonly version: string
  readonly percent: number
  #hasEnded = false

  constructor(
    private readonly model: string,
    { version, percent }: CanaryOptions,
    private readonly random: () => number,
  ) {
    this.version = version
    this.percent = percent
  }

  /** Whether a request is the canary's: of one key always or never, without a key by chance. */
  takes(key: string | undefined): boolean {
    if (this.#hasEnded) return false
    const position = key === undefined ? this.random() : positionOf(this.model, key)
    return position < this.percent / 100
  }

  /** Takes no request any more. */
  end(): void {
    this.#hasEnded = true
  }

  toJSON(): CanaryOptions {
    return { version: this.version, percent: this.percent }
  }
}
