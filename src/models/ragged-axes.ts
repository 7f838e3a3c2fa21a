import type { RaggedInput, RaggedOptions } from '../batching/ragged-feeds.js'
import { ServingError } from '../errors.js'
import type { ModelSignature } from '../execution/session.js'
import { show } from '../options.js'
import { ElementMismatch, elementOf } from '../tensor/element.js'
import { describe, type TensorInfo } from '../tensor/tensor.js'
import type { ModelOptions } from './model-config.js'

type Axes = Readonly<Record<string, { readonly axis?: number }>>

/**
 * The ragged inputs and outputs of a model's options, where there are any.
 * @throws ServingError INVALID_CODEC where they are not the model's
 */
export function raggedOf(
  label: string,
  { inputs, outputs }: ModelSignature,
  batching: ModelOptions['batching'],
): RaggedOptions | undefined {
  const ragged = typeof batching === 'object' ? batching.ragged : undefined
  if (ragged === undefined) return undefined
  const problem =
    (Object.keys(ragged.inputs).length === 0 ? 'inputs names no input.' : undefined) ??
    axisProblem('input', inputs, ragged.inputs) ??
    axisProblem('output', outputs, ragged.outputs ?? {}) ??
    likeProblem(ragged) ??
    padProblem(inputs, ragged) ??
    forgottenOutput(inputs, outputs, ragged)
  if (problem === undefined) return ragged
  throw new ServingError('INVALID_CODEC', `${label}: batching.ragged: ${problem}`)
}

function axisProblem(kind: string, known: readonly TensorInfo[], axes: Axes): string | undefined {
  for (const [name, { axis = 1 }] of Object.entries(axes)) {
    const info = known.find((each) => each.name === name)
    if (info !== undefined && typeof info.shape[axis] === 'string') continue
    const got = info === undefined ? 'there is none of that name' : `it is ${describe(info)}`
    return `axis ${axis} of ${kind} "${name}" must be of variable length; ${got}.`
  }
  return undefined
}

function likeProblem({ inputs, outputs = {} }: RaggedOptions): string | undefined {
  for (const [name, { like }] of Object.entries(outputs)) {
    if (like === undefined || Object.hasOwn(inputs, like)) continue
    return `output "${name}" is like "${like}", which is not a ragged input.`
  }
  return undefined
}

function padProblem(inputs: ModelSignature['inputs'], ragged: RaggedOptions): string | undefined {
  for (const info of inputs) {
    const { padValue } = ragged.inputs[info.name] ?? {}
    const expected = padValue === undefined ? undefined : expectedPad(info, padValue)
    if (expected === undefined) continue
    return `padValue of input "${info.name}" (${describe(info)}) must be ${expected}; got ${show(padValue)}.`
  }
  return undefined
}

/** What a value to fill up with must be; undefined where it is so. */
function expectedPad({ dtype }: TensorInfo, padValue: NonNullable<RaggedInput['padValue']>) {
  // NaN and infinity too: a mask may well be filled up with -Infinity.
  if (dtype.startsWith('float')) return typeof padValue === 'number' ? undefined : 'a number'
  if (dtype === 'bool') return padValue === 0 || padValue === 1 ? undefined : '0 or 1'
  try {
    elementOf[dtype](padValue)
    return undefined
  } catch (error) {
    if (error instanceof ElementMismatch) return error.message
    throw error
  }
}

/** An output of which the file itself says that it is as long as a ragged input, and which would keep what was filled up. */
function forgottenOutput(
  inputs: ModelSignature['inputs'],
  outputs: ModelSignature['outputs'],
  ragged: RaggedOptions,
): string | undefined {
  for (const { name, shape } of inputs) {
    const length = Object.hasOwn(ragged.inputs, name) ? shape[ragged.inputs[name]?.axis ?? 1] : undefined
    if (length === undefined || length === '') continue
    for (const info of outputs) {
      const declared = Object.hasOwn(ragged.outputs ?? {}, info.name)
      const cut = declared ? (ragged.outputs?.[info.name]?.axis ?? 1) : undefined
      const axis = info.shape.findIndex((dim, i) => i > 0 && dim === length && i !== cut)
      if (axis < 0) continue
      const found = `output "${info.name}" (${describe(info)}) is as long as input "${name}" along axis ${axis}, and would keep what was filled up.`
      if (cut !== undefined) return `${found} It is cut back along one axis only. Leave ragged out.`
      return `${found} Add to outputs: ${JSON.stringify({ [info.name]: axis === 1 ? {} : { axis } })}.`
    }
  }
  return undefined
}
