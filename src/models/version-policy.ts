import { isPlainObject, provided, type Field } from '../options.js'

/** Which versions of a folder are loaded, beside the one that serves and those kept for a rollback. */
export type VersionPolicy =
  | 'all'
  /** So many, the highest. */
  | { readonly latest: number }
  /** These; no other version of the folder comes to serve by itself. */
  | { readonly only: readonly string[] }

const mostLatest = 1000

export const versionPolicyField: Field<VersionPolicy> = provided(
  `"all", or an object of either latest, an integer from 1 to ${mostLatest}, or only, a list of versions`,
  isPolicy,
  {
    anyOf: [
      { const: 'all' },
      {
        type: 'object',
        properties: { latest: { type: 'integer', minimum: 1, maximum: mostLatest } },
        required: ['latest'],
        additionalProperties: false,
      },
      {
        type: 'object',
        properties: {
          only: { type: 'array', items: { type: 'string' }, minItems: 1, uniqueItems: true },
        },
        required: ['only'],
        additionalProperties: false,
      },
    ],
  },
)

function isPolicy(value: unknown): boolean {
  if (value === 'all') return true
  if (!isPlainObject(value) || Object.keys(value).length !== 1) return false
  const { latest, only } = value
  if (Array.isArray(only)) {
    return (
      only.length > 0 && only.every((name) => typeof name === 'string') && new Set(only).size === only.length
    )
  }
  return Number.isInteger(latest) && (latest as number) >= 1 && (latest as number) <= mostLatest
}

/** The versions that may serve without being named by anybody. @param names the highest first */
export function eligible(policy: VersionPolicy | undefined, names: readonly string[]): string[] {
  const only = typeof policy === 'object' && 'only' in policy ? new Set(policy.only) : undefined
  return names.filter((name) => only?.has(name) ?? true)
}

/** The versions that are to be loaded; without a policy none but the one that serves. @param names the highest first */
export function wanted(policy: VersionPolicy | undefined, names: readonly string[]): string[] {
  if (policy === undefined) return []
  const all = eligible(policy, names)
  return typeof policy === 'object' && 'latest' in policy ? all.slice(0, policy.latest) : all
}
