import { InferenceClient } from '../client/inference-client.js'
import { ServingError } from '../errors.js'
import type { OutputSpec } from '../models/codec.js'
import type { Json, Model } from '../models/definition.js'
import { checkFields } from '../options.js'
import { GrpcConnection } from './grpc-connection.js'
import { RemoteBackend } from './remote-backend.js'
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

/** How the addresses of each protocol look, and what a message says of that. */
const addresses = {
  rest: [/^https?:\/\//, 'http://host:port or https://host'],
  grpc: [/^(grpcs?:\/\/)?[^/]+$/, 'host:port, grpc://host:port or grpcs://host:port'],
} as const

/** What of the options is missing, or does not go together. */
function objection(options: Partial<RemoteAccess>): string | undefined {
  const { url, urls, model, version, remoteVersions = {}, protocol, binary } = options
  const versions = Object.values(remoteVersions)
  const hasUrls = versions.length > 0 && versions.every((each) => each.urls !== undefined)
  if (model === undefined) return 'model is missing; it must be the name of the model on its server.'
  if (url !== undefined && urls !== undefined) return 'url and urls say the same; leave out one of them.'
  if (url === undefined && urls === undefined && !hasUrls)
    return 'url or urls is missing: where the model is.'
  if (version !== undefined && versions.length > 0)
    return 'version and remoteVersions say the same; leave out one of them.'
  if (protocol === 'grpc' && binary !== undefined) return 'binary is of REST: over gRPC tensors go as bytes.'
  const all = [
    ...(urls ?? []),
    ...(url === undefined ? [] : [url]),
    ...versions.flatMap((each) => each.urls ?? []),
  ]
  const [address, expected] = addresses[protocol ?? 'rest']
  const wrong = all.find((each) => !address.test(each))
  return wrong === undefined ? undefined : `"${wrong}" is no address of the form ${expected}.`
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
}: RemoteAccess): (url: string) => RemoteServer | Promise<RemoteServer> {
  if (protocol === 'grpc') return (url) => GrpcConnection.open(url, headers)
  return (url) => new InferenceClient({ url, headers, retries: 0, ...(binary !== undefined && { binary }) })
}
