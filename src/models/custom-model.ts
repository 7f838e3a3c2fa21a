import { hash } from 'node:crypto'
import type { Batchable } from '../batching/executor.js'
import { asServingError, messageOf, ServingError } from '../errors.js'
import { CustomSession, type CustomRun, type CustomStream } from '../execution/custom.js'
import type { ItemChannel } from '../execution/item-channel.js'
import { statedSafety, type BatchProof } from './batch-safety.js'
import { canonicalJson } from './canonical-json.js'
import { outcomeOf, type Outcome } from './classification.js'
import type { Awaitable } from './codec.js'
import type { ExposureOptions } from './exposure.js'
import type { Encoded, Kept, LoadedModel, RequestCodec } from './loaded-model.js'
import type { CustomModelOptions } from './model-config.js'
import type { VersionInfo } from './onnx-model.js'
import { plainCopy } from './plain-copy.js'
import type { VersionSource } from './repository.js'
import { validated, type StandardSchemaV1 } from './standard-schema.js'

/** Everything a custom model's versions are loaded and served with. */
export interface CustomVersionOptions extends CustomModelOptions, ExposureOptions {
  readonly input?: StandardSchemaV1 | undefined
  readonly cacheKey?: ((row: never) => string) | undefined
  readonly load: (version: VersionInfo) => Awaitable<unknown>
  readonly run?: CustomRun | undefined
  readonly stream?: CustomStream | undefined
  readonly dispose?: ((resource: never) => Awaitable<void>) | undefined
}

/** Rows of a custom model, and about how much they weigh. */
interface Rows {
  readonly rows: readonly unknown[]
  readonly bytes: number
  /** Where the answer goes item by item, of a single row that shares its run with no other. */
  readonly items?: ItemChannel
}

const customRows: Batchable<Rows, readonly unknown[]> = {
  rows: ({ rows }) => rows.length,
  bytes: ({ bytes }) => bytes,
  rowElements: () => 0,
  signature: () => '',
  concat: (inputs) => ({
    rows: inputs.flatMap(({ rows }) => rows),
    bytes: inputs.reduce((sum, { bytes }) => sum + bytes, 0),
  }),
  slice: ({ rows, bytes }, from, to) => ({
    rows: rows.slice(from, to),
    bytes: (bytes * (to - from)) / rows.length,
  }),
  sliceResult: (result, from, to) => result.slice(from, to),
  concatResults: (results) => results.flat(),
}

/**
 * Loads one version of a custom model.
 * @throws ServingError INVALID_MODEL where the user's `load` fails, or what it throws
 */
export async function openCustomModel(
  label: string,
  { version, dir }: VersionSource,
  options: CustomVersionOptions,
): Promise<LoadedModel> {
  let resource: unknown
  try {
    resource = await options.load({ version, dir })
  } catch (error) {
    throw asServingError(error, 'INVALID_MODEL', `${label}: load failed`)
  }
  const { run, stream, dispose, concurrency } = options
  const session = new CustomSession(resource, { run, stream, dispose, concurrency })
  return {
    codec: new CustomCodec(label, options),
    executor: { ...executor(session), width: 0 },
    batchable: customRows,
    batchSafety: safetyOf(options),
    ...(stream !== undefined && { streamed: ({ feeds }, items) => ({ ...(feeds as Rows), items }) }),
    died: new Promise(() => {}),
    close: (isCutOff) => session.close(isCutOff),
  }
}

/** Only who wrote `run` knows: there is no graph to look at. */
function safetyOf({ batching = false }: CustomVersionOptions): BatchProof {
  return batching === false
    ? statedSafety({ safe: false, by: 'declared', reason: 'batching is not declared' })
    : statedSafety({ safe: true, by: 'declared', reason: 'rows are said not to affect each other' })
}

function executor(session: CustomSession) {
  return {
    slots: session.slots,
    mayHang: true,
    // A batch may have to be run again without the request that made it fail: what `run` does to its rows must not show.
    run: ({ rows, items }: Rows, context: { readonly signal: AbortSignal }) =>
      items === undefined
        ? session.run(rows.length === 1 ? rows : (plainCopy(rows).copy as unknown[]), context)
        : session.stream(rows[0], items, context),
  }
}

/** How rows of plain data become those of the user's code. */
export class CustomCodec implements RequestCodec {
  readonly takesExactIntegers = false
  readonly takesTensors = false

  constructor(
    private readonly label: string,
    private readonly options: Pick<CustomVersionOptions, 'input' | 'cacheKey'>,
  ) {}

  encode(value: unknown): Awaitable<Encoded & { readonly feeds: Rows }> {
    const { input } = this.options
    // The schema may take its time, and hand on what it was given.
    return input === undefined ? one(value) : validated(this.label, input, plainCopy(value).copy).then(one)
  }

  own({ feeds }: Encoded): unknown {
    return feeds
  }

  decode(result: unknown, _encoded: Encoded, isShared: boolean): Outcome {
    const [answer] = result as readonly unknown[]
    return outcomeOf(isShared ? plainCopy(answer).copy : answer)
  }

  key({ feeds }: Encoded): string {
    const [row] = (feeds as Rows).rows
    const { cacheKey } = this.options
    try {
      const key = cacheKey === undefined ? canonicalJson(row) : cacheKey(row as never)
      if (typeof key !== 'string') throw new TypeError(`cacheKey must give a string; got ${typeof key}`)
      return hash('sha256', key, 'base64')
    } catch (error) {
      throw new ServingError(
        'INVALID_CODEC',
        `${this.label}: the input has no cache key: ${messageOf(error)}`,
        {
          cause: error,
        },
      )
    }
  }

  keep(result: unknown): Kept {
    const { copy, bytes } = plainCopy(result)
    return { value: copy, bytes }
  }
}

function one(row: unknown): Encoded & { readonly feeds: Rows } {
  const { copy, bytes } = plainCopy(row)
  return { feeds: { rows: [copy], bytes } }
}
