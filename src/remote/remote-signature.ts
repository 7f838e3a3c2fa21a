import type { ModelMetadata, TensorMetadata } from '../v2/metadata.js'
import { ServingError } from '../errors.js'
import type { ModelSignature } from '../execution/session.js'
import type { TensorInfo } from '../tensor/tensor.js'
import { dtypeOf } from '../v2/datatype.js'

/**
 * What a model takes and gives, as its server says.
 * @param label `model@version`, for messages
 * @throws ServingError INVALID_MODEL where it says nothing, or speaks of what can't be served
 */
export function signatureOf(label: string, { inputs, outputs }: ModelMetadata): ModelSignature {
  if (inputs.length === 0 || outputs.length === 0) {
    throw new ServingError(
      'INVALID_MODEL',
      `${label}: the server does not say what the model takes and gives; give remote() its signature.`,
    )
  }
  const describe = (role: string) => (tensor: TensorMetadata) => tensorInfo(label, role, tensor)
  return { inputs: inputs.map(describe('input')), outputs: outputs.map(describe('output')), classes: {} }
}

function tensorInfo(label: string, role: string, { name, datatype, shape }: TensorMetadata): TensorInfo {
  const dtype = dtypeOf(datatype)
  if (dtype === undefined) {
    throw new ServingError(
      'INVALID_MODEL',
      `${label}: ${role} "${name}" is ${datatype}, which can't be served.`,
    )
  }
  return { name, dtype, shape: shape.map((size) => (size < 0 ? '' : size)) }
}
