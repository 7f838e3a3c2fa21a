import { compareVersions } from './version-order.js'
import { eligible, wanted, type VersionPolicy } from './version-policy.js'
import type { VersionState } from './version.js'

/** What is known of a model when a version comes into its folder. */
export interface Arrival {
  /** All versions, the new one too, the highest first. */
  readonly names: readonly string[]
  readonly current: { readonly name: string; readonly state: VersionState } | undefined
  /** The version that configuration says is to serve. */
  readonly wished: string | undefined
  readonly hasServed: boolean
  readonly isLazy: boolean
  readonly options: {
    readonly onNewVersion?: 'activate' | 'load' | 'ignore'
    readonly versions?: VersionPolicy
  }
}

/** What becomes of a version that came, was mended, or is asked for by configuration. */
export function stepFor(
  name: string,
  { names, current, wished, hasServed, isLazy, options }: Arrival,
): 'activate' | 'load' | 'none' {
  const { versions: policy, onNewVersion = 'activate' } = options
  if (!eligible(policy, names).includes(name)) return 'none'
  if (isLazy && current?.state !== 'ready') return 'none'
  // Where nothing serves it is as at the start; but a model that was unloaded stays so.
  if (current === undefined) return hasServed || (wished ?? name) !== name ? 'none' : 'activate'
  if (name === current.name || name === wished) return 'activate'
  if (onNewVersion === 'ignore') return 'none'
  const isHigher = compareVersions(name, current.name) > 0
  if (onNewVersion === 'activate' && wished === undefined && isHigher) return 'activate'
  const isWanted = policy === undefined ? onNewVersion === 'load' : wanted(policy, names).includes(name)
  return isWanted ? 'load' : 'none'
}
