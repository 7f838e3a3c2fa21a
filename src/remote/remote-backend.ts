import { resolve } from 'node:path'
import { batchedFeeds, executorOf, wholeFeeds } from '../batching/feeds-batch.js'
import { ServingError } from '../errors.js'
import type { SeenArtifact } from '../execution/seen-artifact.js'
import type { ModelSignature } from '../execution/session.js'
import type { Backend } from '../models/backend.js'
import { statedSafety } from '../models/batch-safety.js'
import { VersionCodec, type CodecOptions } from '../models/codec.js'
import type { LoadedModel, LoadObserver } from '../models/loaded-model.js'
import { openOnnxModel } from '../models/onnx-model.js'
import { namePattern, versionAt, withoutFiles, type VersionSource } from '../models/repository.js'
import { show } from '../options.js'
import { maxBatchSizeOf, type CustomModelOptions } from '../models/model-config.js'
import { Endpoint } from './endpoint.js'
import { Failover } from './failover.js'
import { HealthChecks } from './health-checks.js'
import type { RemoteAccess } from './remote-options.js'
import type { RemoteServer } from './remote-server.js'
import { RemoteSession } from './remote-session.js'
import { signatureOf } from './remote-signature.js'

export type BackendOptions = RemoteAccess & CodecOptions & Pick<CustomModelOptions, 'batching'>

/** Where a version of ours is. */
interface Place {
  readonly urls: readonly string[]
  readonly model: string
  /** Undefined: the one that the server has current. */
  readonly version: string | undefined
}

/** The name of the one version of a server that names none. */
const unnamedVersion = '1'

/** Models on other servers. */
export class RemoteBackend implements Backend {
  readonly #options: BackendOptions
  readonly #place: Omit<Place, 'version'>
  /** Whether the server has but one version, which it does not name. */
  #isUnnamed = false

  /** @param connect makes the client of a server */
  constructor(
    options: BackendOptions,
    private readonly connect: (url: string) => RemoteServer | Promise<RemoteServer>,
  ) {
    const { url, urls = url === undefined ? [] : [url], model } = options
    this.#options = options
    this.#place = { urls, model }
  }

  /** @throws ServingError REMOTE_UNAVAILABLE, RUN_TIMEOUT, INFERENCE_FAILED */
  async versions(signal: AbortSignal): Promise<VersionSource[]> {
    const { version, remoteVersions } = this.#options
    const { attemptTimeoutMs: timeoutMs } = this.#limits
    if (remoteVersions !== undefined)
      return Promise.all(Object.entries(remoteVersions).map(([name, { source }]) => sourceOf(name, source)))
    if (version !== undefined) return [withoutFiles(version)]
    const { model, urls } = this.#place
    const endpoints = await this.#endpoints(model, urls, () => {})
    try {
      const failover = new Failover(model, endpoints, endpoints.length - 1)
      const { versions } = await failover.call(signal, (server) =>
        server.modelMetadata(model, { signal, timeoutMs }),
      )
      this.#isUnnamed = versions.length === 0
      return (this.#isUnnamed ? [unnamedVersion] : namesOf(model, versions)).map(withoutFiles)
    } finally {
      for (const { server } of endpoints) server.close?.()
    }
  }

  /** @throws ServingError REMOTE_UNAVAILABLE, MODEL_NOT_READY, INVALID_MODEL, INVALID_CODEC */
  async open(
    label: string,
    source: VersionSource,
    observer: LoadObserver,
    seen: SeenArtifact,
  ): Promise<LoadedModel> {
    const { version } = source
    const here = this.#options.remoteVersions?.[version]?.source
    if (here !== undefined)
      return this.#openHere(label, await versionAt(here, version, 'onnx'), observer, seen)
    const { concurrency, attemptTimeoutMs, retries, healthIntervalMs } = this.#limits
    const place = this.#placeOf(version)
    const { urls } = place
    const onChange = (message: string) => observer.warn(message)
    const endpoints = await this.#endpoints(label, urls, onChange)
    const abort = new AbortController()
    const forget = observer.onCutOff(() => abort.abort())
    const disconnect = () => {
      for (const { server } of endpoints) server.close?.()
    }
    try {
      const load = new Failover(label, endpoints, endpoints.length - 1)
      const signature = await load.call(abort.signal, (server) =>
        this.#signature(label, server, place, { signal: abort.signal, timeoutMs: attemptTimeoutMs }),
      )
      const failover = new Failover(label, endpoints, retries)
      const session = new RemoteSession(label, signature, failover, {
        ...place,
        concurrency,
        attemptTimeoutMs,
      })
      const loaded = modelOf(label, session, this.#options)
      const checks = new HealthChecks(endpoints, place, healthIntervalMs, onChange)
      return {
        ...loaded,
        close: async (isCutOff) => {
          checks.close()
          await session.close(isCutOff)
          disconnect()
        },
      }
    } catch (error) {
      disconnect()
      throw error
    } finally {
      forget()
    }
  }

  get instances(): number {
    return this.#options.local?.instances ?? 1
  }

  /** Options, with what is left out. */
  get #limits() {
    const {
      concurrency = 8,
      attemptTimeoutMs = 10_000,
      retries = 2,
      healthIntervalMs = 10_000,
    } = this.#options
    return { concurrency, attemptTimeoutMs, retries, healthIntervalMs }
  }

  /** A version that is served in this process. */
  async #openHere(
    label: string,
    source: VersionSource,
    observer: LoadObserver,
    seen: SeenArtifact,
  ): Promise<LoadedModel> {
    const { local, task, batching, input, outputs, encode, decode } = this.#options
    const options = {
      ...local,
      ...(task !== undefined && { task }),
      ...(batching !== undefined && { batching }),
      ...{ input, outputs, encode, decode },
    }
    return openOnnxModel(label, source, options, observer, seen)
  }

  #placeOf(version: string): Place {
    const { remoteVersions } = this.#options
    if (remoteVersions === undefined)
      return { ...this.#place, version: this.#isUnnamed ? undefined : version }
    const {
      model = this.#place.model,
      urls = this.#place.urls,
      version: there,
    } = remoteVersions[version] ?? {}
    return { model, urls, version: there }
  }

  #endpoints(
    label: string,
    urls: readonly string[],
    onChange: (message: string) => void,
  ): Promise<Endpoint[]> {
    const { circuit = {} } = this.#options
    return Promise.all(
      urls.map(async (url) => new Endpoint(label, url, await this.connect(url), circuit, onChange)),
    )
  }

  /** What the model takes and gives, once a server says that it is ready there. */
  async #signature(
    label: string,
    server: RemoteServer,
    { model, version }: Place,
    limits: { readonly signal: AbortSignal; readonly timeoutMs: number },
  ): Promise<ModelSignature> {
    if (!(await server.modelReady(model, { version, ...limits })))
      throw new ServingError('REMOTE_UNAVAILABLE', `${label}: the remote model is not ready.`)
    const { signature } = this.#options
    if (signature !== undefined) return { ...signature, classes: {} }
    return signatureOf(label, await server.modelMetadata(model, { version, ...limits }))
  }
}

/** Where a version lies. What is wrong with its files is for its load to say: the others have none of it. */
async function sourceOf(version: string, source: string | undefined): Promise<VersionSource> {
  if (source === undefined) return withoutFiles(version)
  const path = resolve(source)
  return versionAt(path, version, 'onnx').catch(() => ({ version, dir: path, file: path }))
}

/** Those that can be names of versions here. @throws ServingError INVALID_MODEL where none can */
function namesOf(model: string, versions: readonly string[]): readonly string[] {
  const names = versions.filter((name) => namePattern.test(name) && name !== 'latest')
  if (names.length > 0) return names
  throw new ServingError(
    'INVALID_MODEL',
    `${model}: the server has versions of no names that can be used here, such as ${show(versions[0])}; give remoteVersions.`,
  )
}

/** @throws ServingError INVALID_CODEC */
function modelOf(label: string, session: RemoteSession, options: BackendOptions): LoadedModel {
  const codec = new VersionCodec(label, session.signature, options)
  const { batching = false } = options
  if (batching !== false && !codec.batched) {
    throw new ServingError(
      'INVALID_CODEC',
      `${label}: batching needs a leading axis of variable length in every input of the remote model.`,
    )
  }
  const isBatching = batching !== false
  return {
    codec,
    tensors: codec.tensors,
    tensorInterface: codec.tensorInterface(maxBatchSizeOf(batching)),
    executor: executorOf(session, { isBatching: () => isBatching }),
    batchable: codec.batched ? batchedFeeds : wholeFeeds,
    batchSafety: statedSafety({
      safe: isBatching,
      by: 'declared',
      reason: isBatching ? 'rows are said not to affect each other' : 'batching is not declared',
    }),
    session,
    died: new Promise(() => {}),
    close: (isCutOff) => session.close(isCutOff),
  }
}
