import { ServingError } from '../errors.js'
import { isDType, type TensorInfo } from '../tensor/tensor.js'
import { dtypeOf, readOnnx } from './onnx-graph.js'
import type { ModelSignature } from './session.js'

/** An input or output as onnxruntime-node describes it. */
type ValueMetadata =
  | {
      readonly name: string
      readonly isTensor: true
      readonly type: string
      readonly shape: readonly (number | string)[]
    }
  | { readonly name: string; readonly isTensor: false }

/** What a session of onnxruntime-node says of itself. */
export interface SessionMetadata {
  readonly inputNames: readonly string[]
  readonly outputNames: readonly string[]
  readonly inputMetadata: readonly ValueMetadata[]
  readonly outputMetadata: readonly ValueMetadata[]
}

/** Before 1.21 onnxruntime-node told the names of inputs and outputs, and nothing else. */
export function describesItself(
  session: Partial<Pick<SessionMetadata, 'inputMetadata' | 'outputMetadata'>>,
): boolean {
  return session.inputMetadata !== undefined && session.outputMetadata !== undefined
}

/** @throws ServingError INVALID_MODEL for an input or output that can't be served */
export function signatureOfSession(
  session: SessionMetadata,
  classes: ModelSignature['classes'],
  path: string,
): ModelSignature {
  const describe = (role: string) => (value: ValueMetadata) =>
    value.isTensor
      ? tensorInfo(role, value.name, value.type, value.shape, path)
      : tensorInfo(role, value.name, notATensor, [], path)
  return {
    inputs: session.inputMetadata.map(describe('input')),
    outputs: session.outputMetadata.map(describe('output')),
    classes,
  }
}

/**
 * The signature by the file's own description, for a session that has none.
 * @throws ServingError INVALID_MODEL for an input or output that can't be served
 */
export function signatureOfGraph(
  bytes: Uint8Array,
  { inputNames, outputNames }: Pick<SessionMetadata, 'inputNames' | 'outputNames'>,
  classes: ModelSignature['classes'],
  path: string,
): ModelSignature {
  const graph = readOnnx(bytes)
  const describe = (role: string, values: typeof graph.inputs) => (name: string) => {
    const value = values.find((candidate) => candidate.name === name)
    const type = value?.kind === 'tensor' ? dtypeOf(value.elemType) : notATensor
    return tensorInfo(role, name, type, value?.dims ?? [], path)
  }
  return {
    inputs: inputNames.map(describe('input', graph.inputs)),
    outputs: outputNames.map(describe('output', graph.outputs)),
    classes,
  }
}

/**
 * Refuses a file with an input or output of a type that can't be served, in words of its own: the runtime fails on
 * some of them with a number.
 * @throws ServingError INVALID_MODEL
 */
export function refuseUnsupportedTypes(bytes: Uint8Array, path: string): void {
  const { inputs, outputs } = readOnnx(bytes)
  const refuse = (role: string, values: typeof inputs) => {
    for (const { name, kind, elemType } of values) {
      if (kind === 'tensor') tensorInfo(role, name, dtypeOf(elemType), [], path)
    }
  }
  refuse('input', inputs)
  refuse('output', outputs)
}

const notATensor = 'not a tensor'

/** @throws ServingError INVALID_MODEL for a type that would fail at every run, or (int4, uint4) abort the process */
function tensorInfo(
  role: string,
  name: string,
  type: string | undefined,
  shape: readonly (number | string)[],
  path: string,
): TensorInfo {
  if (!isDType(type)) {
    const advice =
      type === notATensor
        ? 'Export the model so that it gives tensors (for scikit-learn: options={"zipmap": False}).'
        : 'Cast it to a supported type inside the model.'
    throw new ServingError(
      'INVALID_MODEL',
      `${path}: ${role} "${name}" is ${type ?? 'of an unknown type'}, which can't be served. ${advice}`,
    )
  }
  return { name, dtype: type, shape }
}
