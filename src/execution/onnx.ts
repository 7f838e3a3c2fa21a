import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import type { InferenceSession } from 'onnxruntime-node'
import { messageOf, ServingError } from '../errors.js'
import { isDType, type Feeds, type Tensor, type TensorInfo } from '../tensor/tensor.js'
import { dtypeOf, readOnnx, rewriteZipMaps } from './onnx-graph.js'
import type { Artifact, ModelSignature, RunResult } from './session.js'

type Runtime = Pick<typeof import('onnxruntime-node'), 'InferenceSession'>

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

/** A session of onnxruntime in the calling thread; creation and runs block that thread. */
export class OnnxSession {
  private constructor(
    readonly signature: ModelSignature,
    readonly native: InferenceSession,
  ) {}

  /**
   * Loads a model and refuses what would end the process later.
   * @throws ServingError INVALID_MODEL
   */
  static async create(runtime: Runtime, artifact: Artifact): Promise<OnnxSession> {
    const options = sessionOptions(artifact)
    let native = await createNative(runtime, artifact.path, artifact.path, options)
    let released = false
    try {
      let classes: ModelSignature['classes'] = {}
      if (!describesItself(native) || native.outputMetadata.some((output) => !output.isTensor)) {
        const bytes = readFileSync(artifact.path)
        const rewritten = rewriteZipMaps(bytes)
        if (rewritten.bytes !== bytes) {
          released = true
          await native.release()
          native = await createNative(runtime, rewritten.bytes, artifact.path, options)
          released = false
          classes = rewritten.classes
        }
        if (!describesItself(native)) {
          return new OnnxSession(signatureOfGraph(rewritten.bytes, native, classes, artifact.path), native)
        }
      }
      return new OnnxSession(signatureOfSession(native, classes, artifact.path), native)
    } catch (error) {
      // A second release would throw, and hide why the model was refused.
      if (!released) await native.release()
      if (ServingError.is(error)) throw error
      throw new ServingError('INVALID_MODEL', `${artifact.path}: ${messageOf(error)}`, { cause: error })
    }
  }

  /** @throws ServingError INFERENCE_FAILED with the runtime's own message */
  async run(feeds: Feeds): Promise<RunResult> {
    const started = performance.now()
    let results: Awaited<ReturnType<InferenceSession['run']>>
    try {
      results = await this.native.run(toRuntime(feeds))
    } catch (error) {
      throw new ServingError('INFERENCE_FAILED', messageOf(error), { cause: error })
    }
    const computeMs = performance.now() - started
    const outputs = Object.create(null) as Record<string, Tensor>
    for (const { name } of this.signature.outputs) {
      const result = results[name]
      if (result !== undefined) outputs[name] = fromRuntime(result)
    }
    return { outputs, computeMs }
  }

  release(): Promise<void> {
    return this.native.release()
  }
}

function sessionOptions({ intraOpThreads }: Artifact): InferenceSession.SessionOptions {
  return {
    intraOpNumThreads: intraOpThreads,
    interOpNumThreads: 1,
    // Two or more threads that spin while idle take a core for themselves at 100 calls a second.
    extra: { session: { intra_op: { allow_spinning: '0' } } },
  }
}

async function createNative(
  runtime: Runtime,
  model: string | Uint8Array,
  path: string,
  options: InferenceSession.SessionOptions,
): Promise<InferenceSession> {
  try {
    return await (typeof model === 'string'
      ? runtime.InferenceSession.create(model, options)
      : runtime.InferenceSession.create(model, options))
  } catch (error) {
    throw new ServingError('INVALID_MODEL', `${path} could not be loaded: ${messageOf(error)}`, {
      cause: error,
    })
  }
}

/** Before 1.21 onnxruntime-node told the names of inputs and outputs, and nothing else. */
function describesItself(
  native: Partial<Pick<InferenceSession, 'inputMetadata' | 'outputMetadata'>>,
): boolean {
  return native.inputMetadata !== undefined && native.outputMetadata !== undefined
}

function signatureOfSession(
  native: InferenceSession,
  classes: ModelSignature['classes'],
  path: string,
): ModelSignature {
  const describe = (role: string) => (value: InferenceSession.ValueMetadata) =>
    tensorInfo(
      role,
      value.name,
      value.isTensor ? value.type : 'not a tensor',
      value.isTensor ? value.shape : [],
      path,
    )
  return {
    inputs: native.inputMetadata.map(describe('input')),
    outputs: native.outputMetadata.map(describe('output')),
    classes,
  }
}

function signatureOfGraph(
  bytes: Uint8Array,
  native: InferenceSession,
  classes: ModelSignature['classes'],
  path: string,
): ModelSignature {
  const graph = readOnnx(bytes)
  const describe = (role: string, values: typeof graph.inputs) => (name: string) => {
    const value = values.find((candidate) => candidate.name === name)
    const type = value?.kind === 'tensor' ? dtypeOf(value.elemType) : 'not a tensor'
    return tensorInfo(role, name, type, value?.dims ?? [], path)
  }
  return {
    inputs: native.inputNames.map(describe('input', graph.inputs)),
    outputs: native.outputNames.map(describe('output', graph.outputs)),
    classes,
  }
}

/** @throws ServingError INVALID_MODEL for a type that would fail at every run, or (int4, uint4) abort the process */
function tensorInfo(
  role: string,
  name: string,
  type: string | undefined,
  shape: readonly (number | string)[],
  path: string,
): TensorInfo {
  if (!isDType(type)) {
    const advice =
      type === 'not a tensor'
        ? 'Export the model so that it gives tensors (for scikit-learn: options={"zipmap": False}).'
        : 'Cast it to a supported type inside the model.'
    throw new ServingError(
      'INVALID_MODEL',
      `${path}: ${role} "${name}" is ${type ?? 'of an unknown type'}, which can't be served. ${advice}`,
    )
  }
  return { name, dtype: type, shape }
}

/**
 * Tensors in the form the native code reads. Plain objects, since ort.Tensor's constructor refuses float16
 * on Node 24 and arrays of another realm.
 */
function toRuntime(feeds: Feeds): InferenceSession.FeedsType {
  const converted: Record<string, unknown> = {}
  for (const [name, tensor] of Object.entries(feeds)) {
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
