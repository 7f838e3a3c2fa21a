import { fields, integer, provided, trueOr, type Field, type Fields } from '../options.js'

/** How folders of models are watched. */
export interface WatchOptions {
  /** How long after a look the next one begins, in milliseconds. Default: 5,000. */
  readonly intervalMs?: number
  /** A version is taken once its files have stayed the same for so long, in milliseconds. Default: 5,000. */
  readonly stableMs?: number
  /**
   * The name of a file that is written into a version's folder last: a folder without it is never taken, and one with it
   * at once. Default: none, `stableMs` decides.
   */
  readonly completeMarker?: string
}

export const watchFields: Fields<WatchOptions> = {
  intervalMs: integer(10, 2 ** 31 - 1),
  stableMs: integer(0, 2 ** 31 - 1),
  completeMarker: provided(
    'a file name',
    (value) => typeof value === 'string' && /^[^/\\]+$/.test(value) && !value.startsWith('..'),
  ),
}

export const watchOption: Field<true | WatchOptions> = trueOr(fields(watchFields))

/** What is watched by, defaults and all. */
export interface WatchSettings {
  readonly intervalMs: number
  readonly stableMs: number
  readonly completeMarker: string | undefined
}

export function watchSettings(options: true | WatchOptions): WatchSettings {
  const { intervalMs = 5000, stableMs = 5000, completeMarker } = options === true ? {} : options
  return { intervalMs, stableMs, completeMarker }
}
