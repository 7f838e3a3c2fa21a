import { defaultMaxResponseBytes } from '../client/client-options.js'
import { InferenceClient } from '../client/inference-client.js'
import { ServingError } from '../errors.js'
import type { OutputSpec } from '../models/codec.js'
import type { Json, Model } from '../models/definition.js'
import { checkFields } from '../options.js'
import { GrpcConnection } from './grpc-connection.js'
import { RemoteBackend } from './remote-backend.js'
import { objection } from './remote-objection.js'
import { accessFields, remoteFields, type RemoteAccess, type RemoteOptions } from './remote-options.js'
import type { RemoteServer } from './remote-server.js'

/**
 * Defines, for `createServing`, a model that lies on other servers which speak the Open Inference Protocol: Triton, KServe,
 * MLServer, or another mlserving. It is queued, cached, measured, versioned and rolled out like every model; what it takes
 * and gives its server says. Types follow from `encode`, `decode`, `input` and `outputs`.
 *
 * ```ts
 * createServing({ models: { vision: remote({ url: 'http://triton:8000', model: 'resnet50' }) } })
 * ```
 *
 * @throws ServingError INVALID_OPTIONS
 */
export function remote<P = Json, O = unknown, const S extends OutputSpec = OutputSpec, I = P>(
  options: RemoteOptions<P, O, S, I>,
): Model<I, O> {
  checkFields<object>(options, remoteFields, 'remote()', 'INVALID_OPTIONS')
  const problem = objection(options)
  if (problem !== undefined) throw new ServingError('INVALID_OPTIONS', `remote(): ${problem}`)
  const backend = new RemoteBackend(options, connector(options))
  return { kind: 'backend', options: { ...withoutAccess(options), backend } } as unknown as Model<I, O>
}

/** What the core reads of the options: all but how the model is reached. */
function withoutAccess(options: object): object {
  return Object.fromEntries(Object.entries(options).filter(([name]) => !Object.hasOwn(accessFields, name)))
}

/** Makes clients that try once: who asks them has other servers to try. */
function connector({
  protocol = 'rest',
  headers = {},
  binary,
  maxResponseBytes = defaultMaxResponseBytes,
}: RemoteAccess): (url: string) => RemoteServer | Promise<RemoteServer> {
  if (protocol === 'grpc') return (url) => GrpcConnection.open(url, { headers, maxResponseBytes })
  const options = { headers, maxResponseBytes, retries: 0, ...(binary !== undefined && { binary }) }
  return (url) => new InferenceClient({ url, ...options })
}
