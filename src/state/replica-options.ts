import { integer, oneOf, type Fields } from '../options.js'

export interface ReplicaOptions {
  /** How often a replica looks at the state and tells of itself, in milliseconds. Default: 1000. */
  readonly intervalMs?: number
  /** A replica that has told nothing for so many intervals is dead: nobody waits for it. Default: 5. */
  readonly deadAfterIntervals?: number
  /** How long a switch waits until every replica that lives has loaded the version. Default: 30,000. */
  readonly waitMs?: number
  /**
   * What becomes of a switch after that time: `'abort'`, all go on as before, or `'commit'`, those that could not load
   * the version follow as soon as they can. A rollback is always done. Default: `'abort'`.
   */
  readonly onTimeout?: 'abort' | 'commit'
}

export const replicaFields: Fields<ReplicaOptions> = {
  intervalMs: integer(10, 3_600_000),
  deadAfterIntervals: integer(2, 1000),
  waitMs: integer(0, 2 ** 31 - 1),
  onTimeout: oneOf('abort', 'commit'),
}
