import { ServingError } from '../errors.js'
import { isLatest } from './names.js'
import type { ServedModel } from './served-model.js'

/**
 * Why a model, or the version of it that was asked for, can't answer now.
 * @throws ServingError VERSION_NOT_FOUND where there is no such version
 */
export function notReady(model: ServedModel, version?: string): ServingError {
  const asked = isLatest(version) ? undefined : model.version(version)
  const quarantined = asked && model.quarantine.reasonOf(asked.name)
  if (asked !== undefined && quarantined !== undefined)
    return new ServingError('MODEL_NOT_READY', `${asked.label} is in quarantine: ${quarantined}`)
  if (asked?.state === 'registered' || asked?.state === 'unloaded') {
    return new ServingError(
      'VERSION_NOT_FOUND',
      `${asked.label} is not loaded. Serving: ${model.current?.name ?? 'none'}.`,
    )
  }
  const target = asked ?? model.current ?? model.loading
  const reason = asked === undefined ? (model.failure ?? target?.reason) : asked.reason
  const state = target === undefined ? 'no version is loaded' : `${target.label} is ${target.state}`
  const retryAfter = Math.max(1, Math.ceil(model.retryInMs / 1000))
  return new ServingError(
    'MODEL_NOT_READY',
    `model "${model.name}" can't serve: ${reason?.message ?? state}`,
    {
      cause: reason,
      headers: { 'retry-after': `${retryAfter}` },
    },
  )
}
