import {
  batchedFeeds,
  countingElements,
  executorOf,
  uniformFeeds,
  wholeFeeds,
} from '../batching/feeds-batch.js'
import { asServingError, ServingError } from '../errors.js'
import { checkRaggedOutputs, raggedFeeds, type RaggedOptions } from '../batching/ragged-feeds.js'
import { openSession } from '../execution/open-session.js'
import type { SeenArtifact } from '../execution/seen-artifact.js'
import type { ModelSignature, Session } from '../execution/session.js'
import { describe } from '../tensor/tensor.js'
import { AutomaticProof, isDeclared, statedSafety, type BatchProof } from './batch-safety.js'
import { VersionCodec, type Awaitable, type CodecOptions } from './codec.js'
import type { ExposureOptions } from './exposure.js'
import type { LoadedModel, LoadObserver } from './loaded-model.js'
import { maxBatchSizeOf, readVersionConfig, type ModelOptions } from './model-config.js'
import { raggedOf } from './ragged-axes.js'
import type { VersionSource } from './repository.js'

/** What a `codec` or `load` function is told of the version it is for. */
export interface VersionInfo {
  readonly version: string
  /** The version's folder, absolute: its tokenizer, its class list. */
  readonly dir: string
}

/** Everything an ONNX model's versions are loaded and served with. */
export interface OnnxVersionOptions extends ModelOptions, ExposureOptions, CodecOptions {
  readonly codec?: ((version: VersionInfo) => Awaitable<CodecOptions>) | undefined
}

/**
 * Loads one version of an ONNX model.
 * @param seen what earlier loads have seen of the artifact
 * @throws ServingError INVALID_MODEL, INVALID_CONFIG, INVALID_CODEC, RUNTIME_MISSING, WORKER_DIED
 */
export async function openOnnxModel(
  label: string,
  source: VersionSource,
  options: OnnxVersionOptions,
  observer: LoadObserver,
  seen?: SeenArtifact,
): Promise<LoadedModel> {
  const override = {
    ...(await codecOf(label, source, options)),
    ...(source.config !== undefined && (await readVersionConfig(source.config))),
  }
  const { batching, placement, instances, intraOpThreads, session: sessionOptions, providers } = options
  const { worker, runTimeoutMs, retries = 0 } = options
  const session = await openSession({
    path: source.file,
    placement,
    instances,
    intraOpThreads,
    worker,
    runTimeoutMs,
    retries,
    session: sessionOptions,
    providers,
    inspect: true,
    learned: observer.learnedLayouts(),
    seen,
    onMoved: (message) => observer.moved(message),
    onCutOff: (listener) => observer.onCutOff(listener),
    instanceEvents: {
      onInstanceDied: (reason) => observer.instanceDied(reason),
      mayRestart: (reason) => observer.mayRestart(reason),
      onInstanceOpened: () => observer.instanceOpened(),
    },
  })
  for (const warning of session.warnings) observer.warn(warning)
  try {
    const codec = new VersionCodec(label, session.signature, { ...options, ...override })
    const noAxis = `batching needs a leading axis of variable length in every input; the model takes ${inputsOf(session)}`
    if (isDeclared(batching) && !codec.batched)
      throw new ServingError('INVALID_CODEC', `${label}: ${noAxis}.`)
    const batchSafety = codec.batched
      ? safetyOf(session, options)
      : statedSafety({ safe: false, by: 'refused', reason: noAxis })
    const ragged = codec.batched ? raggedOf(label, session.signature, batching) : undefined
    return {
      codec,
      tensors: codec.tensors,
      tensorInterface: codec.tensorInterface(maxBatchSizeOf(batching)),
      executor: executorOf(session, {
        isBatching: () => batchSafety.verdict.safe,
        keepsFeeds: retries > 0,
        checkOutputs: ragged && ((feeds, outputs) => checkRaggedOutputs(ragged, feeds, outputs)),
      }),
      batchable: codec.batched ? rowsOf(session.signature, ragged, batching) : wholeFeeds,
      batchSafety,
      session,
      died: session.died,
      close: (isCutOff) => session.close(isCutOff),
    }
  } catch (error) {
    await session.close()
    throw error
  }
}

function inputsOf({ signature }: Session): string {
  return signature.inputs.map((input) => `"${input.name}" (${describe(input)})`).join(', ')
}

function safetyOf(session: Session, { batching, runTimeoutMs }: OnnxVersionOptions): BatchProof {
  if (batching === false)
    return statedSafety({ safe: false, by: 'declared', reason: 'batching is turned off' })
  if (isDeclared(batching))
    return statedSafety({ safe: true, by: 'declared', reason: 'rows are said not to affect each other' })
  return new AutomaticProof(session, runTimeoutMs)
}

function rowsOf(
  { inputs }: ModelSignature,
  ragged: RaggedOptions | undefined,
  batching: OnnxVersionOptions['batching'],
): typeof batchedFeeds {
  if (ragged !== undefined) return raggedFeeds(ragged)
  const isUniform = inputs.every(({ shape }) =>
    shape.slice(1).every((dimension) => typeof dimension === 'number'),
  )
  const plain = isUniform ? uniformFeeds : batchedFeeds
  const isBounded = typeof batching === 'object' && batching.maxBatchElements !== undefined
  return isBounded ? countingElements(plain) : plain
}

async function codecOf(
  label: string,
  { version, dir }: VersionSource,
  { codec }: OnnxVersionOptions,
): Promise<CodecOptions> {
  try {
    return (await codec?.({ version, dir })) ?? {}
  } catch (error) {
    throw asServingError(error, 'INVALID_CODEC', `${label}: codec failed`)
  }
}
