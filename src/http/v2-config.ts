import type { AnyServing } from '../serving.js'
import type { DType, TensorInfo } from '../tensor/tensor.js'
import { datatypes } from '../v2/datatype.js'
import { json, type HttpResponse } from './exchange.js'
import type { Exchange } from './native.js'
import { loadedVersion, platforms } from './v2-metadata.js'

/** A model's configuration, as far as the protocol's model configuration has a name for it. */
export interface ModelConfiguration {
  readonly name: string
  readonly platform: string
  readonly backend: string
  /** The rows of one run at most; 0 where the model has no axis of rows. */
  readonly max_batch_size: number
  readonly input: readonly TensorConfiguration[]
  readonly output: readonly TensorConfiguration[]
  readonly instance_group: readonly { readonly kind: 'KIND_CPU' | 'KIND_GPU'; readonly count: number }[]
  /** There where requests may share a run. */
  readonly dynamic_batching?: object
}

export interface TensorConfiguration {
  readonly name: string
  readonly data_type: string
  /** Without the axis of rows, where there is one; a dimension that varies is -1. */
  readonly dims: readonly number[]
}

/**
 * Of the version that serves, or the one asked for by name or label; a lazy model is loaded for it.
 * @throws ServingError MODEL_NOT_FOUND, VERSION_NOT_FOUND, MODEL_NOT_READY, CLOSED, ABORTED
 */
export async function modelConfiguration(
  { models }: AnyServing,
  model: string,
  version: string | undefined,
  signal: AbortSignal,
): Promise<ModelConfiguration> {
  const name = await loadedVersion(models, model, version, signal)
  const about = models.tensorInterface(model, name)
  const { inputs = [], outputs = [], maxBatchSize = 0 } = about ?? {}
  const state = models.get(model).versions.find((each) => each.version === name)
  const { instances = 1, providers = ['cpu'], batching } = state ?? {}
  const platform = platforms[models.kindOf(model)]
  const tensor = (info: TensorInfo) => tensorConfiguration(info, maxBatchSize > 0)
  return {
    name: model,
    platform,
    backend: about === undefined ? platform : 'onnxruntime',
    max_batch_size: maxBatchSize,
    input: inputs.map(tensor),
    output: outputs.map(tensor),
    instance_group: [{ kind: providers[0] === 'cpu' ? 'KIND_CPU' : 'KIND_GPU', count: instances }],
    ...(batching?.safe === true && { dynamic_batching: {} }),
  }
}

function tensorConfiguration({ name, dtype, shape }: TensorInfo, hasRows: boolean): TensorConfiguration {
  const dims = shape.map((dimension) => (typeof dimension === 'number' ? dimension : -1))
  return { name, data_type: typeOf(dtype), dims: hasRows ? dims.slice(1) : dims }
}

/** The configuration's own name of an element type. */
function typeOf(dtype: DType): string {
  return dtype === 'string' ? 'TYPE_STRING' : `TYPE_${datatypes[dtype]}`
}

export async function getV2Config({ serving, request }: Exchange): Promise<HttpResponse> {
  const { model = '', version } = request.params
  return json(200, await modelConfiguration(serving, model, version, request.signal))
}
