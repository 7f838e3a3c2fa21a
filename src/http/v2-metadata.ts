import type { AnyServing } from '../serving.js'
import type { TensorInfo } from '../tensor/tensor.js'
import { datatypes } from '../v2/datatype.js'
import type { ModelMetadata, ServerMetadata, TensorMetadata } from '../v2/metadata.js'
import { packageVersion } from '../version.js'
import { json, type HttpResponse } from './exchange.js'
import type { Exchange } from './native.js'

const extensions = [
  'classification',
  'model_configuration',
  'schedule_policy',
  'statistics',
  'binary_tensor_data',
  'generate',
]

/** @param hasRepository whether models may be loaded and unloaded by way of the protocol */
export function serverMetadata(name: string, hasRepository: boolean): ServerMetadata {
  return {
    name,
    version: packageVersion,
    extensions: hasRepository ? [...extensions, 'model_repository'] : extensions,
  }
}

/**
 * Of the version that serves, or the one asked for by name or label; a lazy model is loaded for it.
 * @throws ServingError MODEL_NOT_FOUND, VERSION_NOT_FOUND, MODEL_NOT_READY, CLOSED, ABORTED
 */
export async function modelMetadata(
  { models }: AnyServing,
  model: string,
  version: string | undefined,
  signal: AbortSignal,
): Promise<ModelMetadata> {
  const name = await loadedVersion(models, model, version, signal)
  const { inputs = [], outputs = [] } = models.tensorInterface(model, name) ?? {}
  const { versions } = models.get(model)
  return {
    name: model,
    versions: versions.filter(({ state }) => state === 'ready').map((each) => each.version),
    platform: platforms[models.kindOf(model)],
    inputs: inputs.map(tensorMetadata),
    outputs: outputs.map(tensorMetadata),
  }
}

/**
 * The name of the version that serves, or of the one asked for, once it is loaded.
 * @throws ServingError MODEL_NOT_FOUND, VERSION_NOT_FOUND, MODEL_NOT_READY, CLOSED, ABORTED
 */
export async function loadedVersion(
  models: AnyServing['models'],
  model: string,
  version: string | undefined,
  signal: AbortSignal,
): Promise<string> {
  const lease = await models.lease(model, version, { signal })
  lease.release()
  // A canary takes its share of the requests, and is not what a model is said to be.
  return version === undefined ? models.versionOf(model, 'latest') : lease.version
}

/** What runs a model, by its kind. */
export const platforms = {
  onnx: 'onnxruntime_onnx',
  custom: 'mlserving_custom',
  pipeline: 'mlserving_pipeline',
  backend: 'mlserving_remote',
} as const

function tensorMetadata({ name, dtype, shape }: TensorInfo): TensorMetadata {
  return {
    name,
    datatype: datatypes[dtype],
    shape: shape.map((dimension) => (typeof dimension === 'number' ? dimension : -1)),
  }
}

/**
 * Whether a model, or the version asked for, answers requests: one that is lazy does so once it is loaded.
 * @throws ServingError MODEL_NOT_FOUND, VERSION_NOT_FOUND
 */
export function isModelReady({ models }: AnyServing, model: string, version?: string): boolean {
  return models.canServe(model, version)
}

export function getV2Server({ serverName, isAdministered }: Exchange): HttpResponse {
  return json(200, serverMetadata(serverName, isAdministered))
}

export function getV2Live(): HttpResponse {
  return json(200, { live: true })
}

export function getV2Ready({ serving, isDraining }: Exchange): HttpResponse {
  const ready = !isDraining && serving.readiness().status === 'ready'
  return json(ready ? 200 : 503, { ready })
}

export async function getV2Model({ serving, request }: Exchange): Promise<HttpResponse> {
  const { model = '', version } = request.params
  return json(200, await modelMetadata(serving, model, version, request.signal))
}

export async function getV2ModelReady({ serving, request }: Exchange): Promise<HttpResponse> {
  const { model = '', version } = request.params
  if (!serving.models.isListed) await serving.models.listed()
  const ready = isModelReady(serving, model, version)
  return json(ready ? 200 : 503, { name: model, ready })
}
