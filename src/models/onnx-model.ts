import { batchedFeeds, executorOf, uniformFeeds, wholeFeeds } from '../batching/feeds-batch.js'
import { asServingError, ServingError } from '../errors.js'
import { openSession } from '../execution/open-session.js'
import type { ModelSignature } from '../execution/session.js'
import { describe } from '../tensor/tensor.js'
import { VersionCodec, type Awaitable, type CodecOptions } from './codec.js'
import type { ExposureOptions } from './exposure.js'
import type { LoadedModel, LoadObserver } from './loaded-model.js'
import { maxBatchSizeOf, readVersionConfig, type ModelOptions } from './model-config.js'
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
 * @throws ServingError INVALID_MODEL, INVALID_CONFIG, INVALID_CODEC, RUNTIME_MISSING, WORKER_DIED
 */
export async function openOnnxModel(
  label: string,
  source: VersionSource,
  options: OnnxVersionOptions,
  observer: LoadObserver,
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
    session: sessionOptions,
    providers,
    // Without batching a request is a run, and mostly one row.
    maxRows: batching === undefined ? 1 : maxBatchSizeOf(batching),
    instanceEvents: {
      onInstanceDied: (reason) => observer.instanceDied(reason),
      mayRestart: (reason) => observer.mayRestart(reason),
      onInstanceOpened: () => observer.instanceOpened(),
    },
  })
  for (const warning of session.warnings) observer.warn(warning)
  try {
    const codec = new VersionCodec(label, session.signature, { ...options, ...override })
    const isBatching = batching !== undefined
    if (isBatching && !codec.batched) {
      const inputs = session.signature.inputs.map((input) => `"${input.name}" (${describe(input)})`)
      throw new ServingError(
        'INVALID_CODEC',
        `${label}: batching needs a leading axis of variable length in every input; the model takes ${inputs.join(', ')}.`,
      )
    }
    return {
      codec,
      executor: executorOf(session, { batched: isBatching, keepsFeeds: retries > 0 }),
      batchable: codec.batched ? rowsOf(session.signature) : wholeFeeds,
      session,
      died: session.died,
      close: () => session.close(),
    }
  } catch (error) {
    await session.close()
    throw error
  }
}

function rowsOf({ inputs }: ModelSignature): typeof batchedFeeds {
  const isUniform = inputs.every(({ shape }) =>
    shape.slice(1).every((dimension) => typeof dimension === 'number'),
  )
  return isUniform ? uniformFeeds : batchedFeeds
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
