import { batchedFeeds, executorOf, wholeFeeds } from '../batching/feeds-batch.js'
import { asServingError, ServingError } from '../errors.js'
import { openSession } from '../execution/open-session.js'
import { coreCount } from '../execution/permits.js'
import { describe } from '../tensor/tensor.js'
import { VersionCodec, type Awaitable, type CodecOptions } from './codec.js'
import type { LoadedModel } from './loaded-model.js'
import { readVersionConfig, type ModelOptions } from './model-config.js'
import type { VersionSource } from './repository.js'

/** What a `codec` or `load` function is told of the version it is for. */
export interface VersionInfo {
  readonly version: string
  /** The version's folder, absolute: its tokenizer, its class list. */
  readonly dir: string
}

/** Everything an ONNX model's versions are loaded and served with. */
export interface OnnxVersionOptions extends ModelOptions, CodecOptions {
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
): Promise<LoadedModel> {
  const override = {
    ...(await codecOf(label, source, options)),
    ...(source.config !== undefined && (await readVersionConfig(source.config))),
  }
  const cores = coreCount()
  const { placement = 'thread' } = options
  const intraOpThreads = placement === 'inline' ? 1 : Math.min(options.intraOpThreads ?? cores, cores)
  const session = await openSession(placement, { path: source.file, intraOpThreads })
  try {
    const codec = new VersionCodec(label, session.signature, { ...options, ...override })
    const isBatching = options.batching !== undefined
    if (isBatching && !codec.batched) {
      const inputs = session.signature.inputs.map((input) => `"${input.name}" (${describe(input)})`)
      throw new ServingError(
        'INVALID_CODEC',
        `${label}: batching needs a leading axis of variable length in every input; the model takes ${inputs.join(', ')}.`,
      )
    }
    return {
      codec,
      executor: executorOf(session, isBatching),
      batchable: codec.batched ? batchedFeeds : wholeFeeds,
      signature: session.signature,
      died: session.died,
      close: () => session.close(),
    }
  } catch (error) {
    await session.close()
    throw error
  }
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
