import { showLeaf } from '../tensor/mismatch.js'
import { invalidRequest, type JsonFields } from './message.js'

/** What the parameters of a request ask for. Others than these are ignored, as other servers of the protocol do. */
export interface RequestParameters {
  /** Default: the server's own. */
  readonly priority?: 'high' | 'normal' | 'low'
  /** Default: none. */
  readonly timeoutMs?: number
  /** Whether outputs that say nothing of it are wanted as raw bytes. */
  readonly binaryOutputs: boolean
}

const longestTimeoutMs = 2 ** 31 - 1

/**
 * Reads the parameters of a request: `priority` (0 is the default, 1 the highest), `timeout` in microseconds (0 is none),
 * `binary_data_output`.
 * @throws ServingError INVALID_REQUEST; also for `sequence_*`, which no model here has
 */
export function readParameters(parameters: JsonFields): RequestParameters {
  const sequence = Object.keys(parameters).find(
    (name) => name.startsWith('sequence_') && isSet(parameters[name]),
  )
  if (sequence !== undefined)
    throw invalidRequest(`there are no sequences here: send no parameter ${sequence}. Models keep no state.`)
  const priority = count(parameters, 'priority')
  const timeoutUs = count(parameters, 'timeout')
  return {
    ...(priority > 0 && { priority: priorities[priority - 1] ?? 'low' }),
    ...(timeoutUs > 0 && { timeoutMs: Math.min(Math.ceil(timeoutUs / 1000), longestTimeoutMs) }),
    binaryOutputs: flag(parameters, 'binary_data_output', 'the request') ?? false,
  }
}

const priorities = ['high', 'normal', 'low'] as const

/** Clients send the numbers of no sequence as well. */
function isSet(value: unknown): boolean {
  return value !== 0 && value !== '' && value !== false && value !== null
}

function count(parameters: JsonFields, name: string): number {
  const value = parameters[name] ?? 0
  if (typeof value === 'number' && Number.isInteger(value) && value >= 0) return value
  throw invalidRequest(`the parameter ${name} must be an integer of at least 0; got ${showLeaf(value)}.`)
}

/** A parameter that is true or false; undefined where it is not there. @param whose the one that has it, for messages */
export function flag(parameters: JsonFields, name: string, whose: string): boolean | undefined {
  const value = parameters[name] ?? undefined
  if (value === undefined || typeof value === 'boolean') return value
  throw invalidRequest(`${whose}: the parameter ${name} must be true or false; got ${showLeaf(value)}.`)
}
