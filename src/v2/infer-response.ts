import type { Tensor } from '../tensor/tensor.js'
import { joinBody } from './binary-body.js'
import { tensorMessage } from './tensor-message.js'

/** The answer to an inference request. */
export interface InferResponse {
  readonly model: string
  readonly version: string
  readonly id: string | undefined
  readonly outputs: readonly ResponseOutput[]
}

export interface ResponseOutput {
  readonly name: string
  readonly tensor: Tensor
  /** Whether its elements go as raw bytes. */
  readonly isBinary: boolean
}

/** The bytes, or where none of the outputs is binary the text, of an answer. */
export interface InferBody {
  readonly body: string | Uint8Array
  /** How many bytes of it are JSON; undefined where all are. */
  readonly jsonLength?: number
}

export function writeInferResponse({ model, version, id, outputs }: InferResponse): InferBody {
  const tensors = outputs.map(({ name, tensor, isBinary }) => tensorMessage(name, tensor, isBinary))
  const names = { model_name: model, model_version: version, ...(id !== undefined && { id }) }
  const json = `${JSON.stringify(names).slice(0, -1)},"outputs":[${tensors.map((tensor) => tensor.json).join(',')}]}`
  const raws = tensors.map(({ raw }) => raw).filter((raw) => raw !== undefined)
  return raws.length === 0 ? { body: json } : joinBody(json, raws)
}
