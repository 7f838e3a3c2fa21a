import type { Metric, Registry } from 'prom-client'
import { ServingError } from '../errors.js'

const brand = Symbol.for('mlserving.metric')

/** Marks a metric as one of ours: another serving on the same registry, or another copy of the package, may use it. */
export function branded<M extends object>(metric: M): M {
  return Object.defineProperty(metric, brand, { value: true })
}

/**
 * Our metric of that name in a registry, where there is one.
 * @throws ServingError INVALID_OPTIONS where the host has one of its own of that name
 */
export function ownMetric(registry: Registry, name: string): Metric | undefined {
  const found = registry.getSingleMetric(name)
  if (found === undefined || brand in found) return found
  throw new ServingError(
    'INVALID_OPTIONS',
    `the registry has a metric ${name} of its own: give the serving another registry.`,
  )
}
