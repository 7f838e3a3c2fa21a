import { batchedFeeds, executorOf, uniformFeeds, wholeFeeds } from '../batching/feeds-batch.js'
import { asServingError, ServingError } from '../errors.js'
import { raggedFeeds, type RaggedOptions } from '../batching/ragged-feeds.js'
import { openSession } from '../execution/open-session.js'
import type { ModelSignature, Session } from '../execution/session.js'
import { describe } from '../tensor/tensor.js'
import { AutomaticProof, isDeclared, statedSafety, type BatchProof } from './batch-safety.js'
import { VersionCodec, type Awaitable, type CodecOptions } from './codec.js'
import type { ExposureOptions } from './exposure.js'
import type { LoadedModel, LoadObserver } from './loaded-model.js'
import { readVersionConfig, type ModelOptions } from './model-config.js'
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
    inspect: true,
    learned: observer.learnedLayouts(),
    onMoved: (message) => observer.moved(message),
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
      ? safetyOf(session, batching)
      : statedSafety({ safe: false, by: 'refused', reason: noAxis })
    return {
      codec,
      executor: executorOf(session, {
        isBatching: () => batchSafety.verdict.safe,
        keepsFeeds: retries > 0,
      }),
      batchable: codec.batched
        ? rowsOf(session.signature, raggedOf(label, session.signature, batching))
        : wholeFeeds,
      batchSafety,
      session,
      died: session.died,
      close: () => session.close(),
    }
  } catch (error) {
    await session.close()
    throw error
  }
}

function inputsOf({ signature }: Session): string {
  return signature.inputs.map((input) => `"${input.name}" (${describe(input)})`).join(', ')
}

function safetyOf(session: Session, batching: OnnxVersionOptions['batching']): BatchProof {
  if (batching === false)
    return statedSafety({ safe: false, by: 'declared', reason: 'batching is turned off' })
  if (isDeclared(batching))
    return statedSafety({ safe: true, by: 'declared', reason: 'rows are said not to affect each other' })
  return new AutomaticProof(session)
}

/** @throws ServingError INVALID_CODEC where the ragged inputs or outputs are not the model's */
function raggedOf(
  label: string,
  { inputs, outputs }: ModelSignature,
  batching: ModelOptions['batching'],
): RaggedOptions | undefined {
  const ragged = typeof batching === 'object' ? batching.ragged : undefined
  if (ragged === undefined) return undefined
  const check = (
    kind: string,
    known: ModelSignature['inputs'],
    axes: Readonly<Record<string, { readonly axis?: number }>>,
  ) => {
    for (const [name, { axis = 1 }] of Object.entries(axes)) {
      const info = known.find((each) => each.name === name)
      if (info !== undefined && typeof info.shape[axis] === 'string') continue
      const got = info === undefined ? 'there is none of that name' : `it is ${describe(info)}`
      throw new ServingError(
        'INVALID_CODEC',
        `${label}: batching.ragged: axis ${axis} of ${kind} "${name}" must be of variable length; ${got}.`,
      )
    }
  }
  check('input', inputs, ragged.inputs)
  check('output', outputs, ragged.outputs ?? {})
  for (const [name, { like }] of Object.entries(ragged.outputs ?? {})) {
    if (like === undefined || Object.hasOwn(ragged.inputs, like)) continue
    throw new ServingError(
      'INVALID_CODEC',
      `${label}: batching.ragged: output "${name}" is like "${like}", which is not a ragged input.`,
    )
  }
  return ragged
}

function rowsOf({ inputs }: ModelSignature, ragged: RaggedOptions | undefined): typeof batchedFeeds {
  if (ragged !== undefined) return raggedFeeds(ragged)
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
