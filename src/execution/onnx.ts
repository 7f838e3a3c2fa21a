import { readFile, stat } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname } from 'node:path'
import type { InferenceSession } from 'onnxruntime-node'
import { messageOf, ServingError } from '../errors.js'
import { emptyLike, type Feeds, type Tensor } from '../tensor/tensor.js'
import { checkedBytes, refuseForeignData } from './external-data.js'
import { inspect, inspectedBytes, type Inspection } from './inspection.js'
import { ModelFile } from './model-file.js'
import { rewriteZipMaps } from './onnx-graph.js'
import { createWithFallback, type Provided, type Provider } from './providers.js'
import { runtimeOptions } from './session-options.js'
import type { Artifact, LoadedArtifact, ModelSignature, RunResult } from './session.js'
import { describesItself, refuseUnsupportedTypes, signatureOfGraph, signatureOfSession } from './signature.js'

type Runtime = Pick<typeof import('onnxruntime-node'), 'InferenceSession'> &
  // Came with 1.17, and may go.
  Partial<Pick<typeof import('onnxruntime-node'), 'listSupportedBackends'>>

const runtimeKey = Symbol.for('mlserving.onnxruntime')

/**
 * The runtime of this thread. It is loaded once and kept on `globalThis`: two copies of its JavaScript in one
 * thread that both create sessions abort the process (microsoft/onnxruntime 32464).
 * @throws ServingError RUNTIME_MISSING when it has no build for this platform
 */
export function loadRuntime(path: string): Runtime {
  const shelf = globalThis as { [runtimeKey]?: Runtime }
  if (shelf[runtimeKey] !== undefined) return shelf[runtimeKey]
  try {
    return (shelf[runtimeKey] = createRequire(path)(path) as Runtime)
  } catch (error) {
    throw new ServingError('RUNTIME_MISSING', `onnxruntime-node could not be loaded: ${messageOf(error)}`, {
      cause: error,
    })
  }
}

/** Of so many runs one is timed without what the event loop does before it. */
const exactEvery = 8

/** A session of onnxruntime in the calling thread; creation and runs block that thread. */
export class OnnxSession implements LoadedArtifact {
  readonly providers: LoadedArtifact['providers']
  readonly warnings: readonly string[]
  readonly inspection: Inspection | undefined
  readonly #native: InferenceSession
  #runs = 0
  #released: Promise<void> | undefined

  private constructor(
    readonly signature: ModelSignature,
    { session, providers, warnings }: Provided<InferenceSession>,
    inspection: Inspection | undefined,
  ) {
    this.#native = session
    this.providers = providers
    this.warnings = warnings
    this.inspection = inspection
  }

  /**
   * Loads a model and refuses what would end the process later.
   * @throws ServingError INVALID_MODEL
   */
  static async create(runtime: Runtime, artifact: Artifact): Promise<OnnxSession> {
    const { path } = artifact
    const inspection = await check(artifact)
    let loaded = await load(runtime, artifact)
    let released = false
    try {
      let bytes: Uint8Array | undefined
      let classes: ModelSignature['classes'] = {}
      const { session } = loaded
      if (!describesItself(session) || session.outputMetadata.some((output) => !output.isTensor)) {
        const rewritten = rewriteZipMaps((bytes = await readFile(path)))
        if (rewritten.bytes !== bytes) {
          released = true
          await session.release()
          loaded = await load(runtime, artifact, rewritten.bytes)
          released = false
          ;({ bytes, classes } = rewritten)
        }
      }
      const signature =
        describesItself(loaded.session) || bytes === undefined
          ? signatureOfSession(loaded.session, classes, path)
          : signatureOfGraph(bytes, loaded.session, classes, path)
      return new OnnxSession(signature, loaded, inspection)
    } catch (error) {
      // A second release would throw, and hide why the model was refused.
      if (!released) await loaded.session.release()
      if (ServingError.is(error)) throw error
      throw new ServingError('INVALID_MODEL', `${path}: ${messageOf(error)}`, { cause: error })
    }
  }

  /** @throws ServingError INFERENCE_FAILED with the runtime's own message */
  async run(feeds: Feeds): Promise<RunResult> {
    let started = performance.now()
    // The runtime computes in an immediate of its own, which comes after this one and whatever the loop does before.
    // Not for each run: an immediate costs a tenth of a run of the smallest models.
    const isRough = this.#runs++ % exactEvery !== 0
    if (!isRough) setImmediate(() => (started = performance.now()))
    let results: Awaited<ReturnType<InferenceSession['run']>>
    try {
      results = await this.#native.run(toRuntime(feeds))
    } catch (error) {
      throw new ServingError('INFERENCE_FAILED', messageOf(error), { cause: error })
    }
    const computeMs = performance.now() - started
    const outputs: Record<string, Tensor> = {}
    for (const { name } of this.signature.outputs) {
      const result = results[name]
      if (result !== undefined) outputs[name] = fromRuntime(result)
    }
    return { outputs, computeMs, isRough }
  }

  /** Gives the session's memory back; runs that have not begun fail. A second call joins the first. */
  release(): Promise<void> {
    return (this.#released ??= this.#native.release())
  }
}

/**
 * Looks into a model's file before it is loaded, and lets its bytes go by then.
 * @throws ServingError INVALID_MODEL
 */
async function check({ path, inspect: isInspected = false }: Artifact): Promise<Inspection | undefined> {
  const file = await ModelFile.read(path, isInspected ? inspectedBytes : checkedBytes)
  refuseForeignData(file)
  return isInspected ? inspect(file) : undefined
}

/**
 * Loads a model with the providers that can be had.
 * @param rewritten the model in place of its file's content
 * @throws ServingError INVALID_MODEL
 */
async function load(
  runtime: Runtime,
  { path, intraOpThreads, session = {}, providers }: Artifact,
  rewritten?: Uint8Array,
): Promise<Provided<InferenceSession>> {
  const { extra, ...options } = runtimeOptions(session, intraOpThreads)
  const create = (executionProviders?: readonly Provider[]) => {
    const all = { ...options, ...(executionProviders && { executionProviders }) }
    if (rewritten === undefined) return runtime.InferenceSession.create(path, { ...all, extra })
    // Bytes lie in no folder: external data would be looked for in the working directory.
    const folder = { 'session.model_external_initializers_file_folder_path': dirname(path) }
    return runtime.InferenceSession.create(rewritten, { ...all, extra: { ...extra, ...folder } })
  }
  try {
    if (providers === undefined) return { session: await create(), providers: ['cpu'], warnings: [] }
    const backends = runtime.listSupportedBackends?.()
    const available = backends && new Set(backends.map(({ name }) => name))
    return await createWithFallback(providers, {
      path,
      available,
      create,
      release: (unused) => unused.release(),
    })
  } catch (error) {
    throw await loadFailure(error, path)
  }
}

/** The largest file that is read once more to say why it can't be loaded: a lack of memory may be the reason. */
const explainedBytes = 256 * 1024 * 1024

async function loadFailure(error: unknown, path: string): Promise<ServingError> {
  try {
    if ((await stat(path)).size <= explainedBytes) refuseUnsupportedTypes(await readFile(path), path)
  } catch (refusal) {
    if (ServingError.is(refusal)) return refusal
    // The file is not there, or no model: the runtime has said so.
  }
  if (ServingError.is(error)) return error
  return new ServingError('INVALID_MODEL', `${path} could not be loaded: ${messageOf(error)}`, {
    cause: error,
  })
}

/**
 * Tensors in the form the native code reads. Plain objects, since ort.Tensor's constructor refuses float16
 * on Node 24 and arrays of another realm.
 */
function toRuntime(feeds: Feeds): InferenceSession.FeedsType {
  const converted = emptyLike(feeds)
  for (const name in feeds) {
    const tensor = feeds[name]
    if (tensor !== undefined)
      converted[name] = { type: tensor.dtype, dims: tensor.shape, data: tensor.data, location: 'cpu' }
  }
  return converted as InferenceSession.FeedsType
}

/** A result as a tensor of ours: from Node 24 on float16 comes as a Float16Array, here it is bit patterns everywhere. */
function fromRuntime({ type, dims, data }: InferenceSession.OnnxValueMapType[string]): Tensor {
  const bits = type === 'float16' && ArrayBuffer.isView(data)
  const bare = bits ? new Uint16Array(data.buffer, data.byteOffset, data.length) : data
  return { dtype: type, shape: dims, data: bare } as Tensor
}
