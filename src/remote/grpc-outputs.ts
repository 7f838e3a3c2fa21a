import { InferenceError } from '../client/inference-error.js'
import { elementCount, emptyRecord, type Feeds, type Tensor } from '../tensor/tensor.js'
import { dtypeOf } from '../v2/datatype.js'
import type { InferTensor, ModelInferResponse } from '../v2/grpc-messages.js'
import { fromRaw, RawMismatch } from '../v2/raw-tensor.js'
import { elementsOf } from '../v2/tensor-contents.js'

/**
 * The outputs of an answer, whose elements are its raw contents or those of each output.
 * @throws InferenceError INVALID_RESPONSE
 */
export function outputsOf(
  { outputs, raw_output_contents: raws }: ModelInferResponse,
  model: string,
  endpoint: string,
): Feeds {
  const tensors = emptyRecord<Tensor>(true)
  if (raws.length > 0 && raws.length !== outputs.length) {
    const counts = `${raws.length} raw contents for ${outputs.length} outputs`
    throw new InferenceError('INVALID_RESPONSE', `the answer is not as the protocol says: ${counts}`, {
      model,
      endpoint,
    })
  }
  for (const [i, output] of outputs.entries()) {
    try {
      if (output.name in tensors) throw new RawMismatch('it is there twice')
      tensors[output.name] = tensorOf(output, raws.length > 0 ? raws[i] : undefined)
    } catch (cause) {
      if (!(cause instanceof RawMismatch)) throw cause
      const message = `output "${output.name}" is not as the protocol says: ${cause.message}`
      throw new InferenceError('INVALID_RESPONSE', message, { model, endpoint, cause })
    }
  }
  return tensors
}

function tensorOf({ datatype, shape: sizes, contents }: InferTensor, raw: Uint8Array | undefined): Tensor {
  const dtype = dtypeOf(datatype)
  if (dtype === undefined) throw new RawMismatch(`its datatype is ${datatype}`)
  const shape = Array.from(sizes, Number)
  if (shape.some((size) => size < 0)) throw new RawMismatch('its shape has a negative dimension')
  if (raw !== undefined) return fromRaw(dtype, shape, raw)
  const data = elementsOf(dtype, contents ?? {})
  const count = elementCount(shape)
  if (data.length !== count) throw new RawMismatch(`${count} elements were expected; got ${data.length}`)
  return { dtype, shape, data } as Tensor
}
