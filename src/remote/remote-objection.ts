import { checkOptions } from '../client/client-options.js'
import { InferenceError } from '../client/inference-error.js'
import { modelPath } from '../client/model-path.js'
import { placementObjection } from '../execution/open-session.js'
import { metadataObjection } from './grpc-metadata.js'
import type { RemoteAccess } from './remote-options.js'

/** What of the options is missing, can't be used, or does not go together. */
export function objection(options: Partial<RemoteAccess>): string | undefined {
  const { url, urls, model, version, remoteVersions = {}, protocol, binary } = options
  const versions = Object.values(remoteVersions)
  const hasUrls = versions.length > 0 && versions.every(({ urls, source }) => (urls ?? source) !== undefined)
  if (model === undefined) return 'model is missing; it must be the name of the model on its server.'
  if (url !== undefined && urls !== undefined) return 'url and urls say the same; leave out one of them.'
  if (url === undefined && urls === undefined && !hasUrls)
    return 'url or urls is missing: where the model is.'
  if (version !== undefined && versions.length > 0)
    return 'version and remoteVersions say the same; leave out one of them.'
  const both = Object.entries(remoteVersions).find(
    ([, { source, ...remote }]) =>
      source !== undefined && Object.values<unknown>(remote).some((value) => value !== undefined),
  )
  if (both !== undefined)
    return `remoteVersions: "${both[0]}" has a source, and is served here; leave out the rest of it.`
  const local = placementObjection(options.local ?? {})
  if (local !== undefined) return `local: ${local}`
  if (protocol === 'grpc' && binary !== undefined) return 'binary is of REST: over gRPC tensors go as bytes.'
  const addresses = [
    ...(urls ?? []),
    ...(url === undefined ? [] : [url]),
    ...versions.flatMap((each) => each.urls ?? []),
  ]
  const places = [{ model, version }, ...versions.map((each) => ({ ...each, model: each.model ?? model }))]
  return protocol === 'grpc'
    ? grpcObjection(addresses, options.headers)
    : restObjection(addresses, options.headers, places)
}

function grpcObjection(
  addresses: readonly string[],
  headers: RemoteAccess['headers'] = {},
): string | undefined {
  const wrong = addresses.find((address) => !isGrpcAddress(address))
  if (wrong !== undefined)
    return `"${wrong}" is no address of the form host:port, grpc://host:port or grpcs://host:port.`
  return metadataObjection(headers)
}

function isGrpcAddress(address: string): boolean {
  const [, target] = /^(?:grpcs?:\/\/)?([^/?#@]+:\d+)$/.exec(address) ?? []
  return target !== undefined && URL.canParse(`http://${target}`)
}

function restObjection(
  addresses: readonly string[],
  headers: RemoteAccess['headers'] = {},
  places: readonly { readonly model: string; readonly version?: string | undefined }[],
): string | undefined {
  const wrong = addresses.find((address) => !/^https?:\/\//.test(address))
  if (wrong !== undefined) return `"${wrong}" is no address of the form http://host:port or https://host.`
  try {
    for (const url of addresses) checkOptions({ url, headers })
    for (const { model, version } of places) modelPath(model, version)
    return undefined
  } catch (error) {
    if (InferenceError.is(error)) return error.message
    throw error
  }
}
