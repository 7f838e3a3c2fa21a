import { readFile } from 'node:fs/promises'
import type { RaggedInput, RaggedOptions, RaggedOutput } from '../batching/ragged-feeds.js'
import type { CacheOptions } from '../cache/prediction-cache.js'
import { messageOf, ServingError } from '../errors.js'
import type { Placement } from '../execution/open-session.js'
import { providersOption, type Provider } from '../execution/providers.js'
import { sessionOption, type SessionOptions } from '../execution/session-options.js'
import {
  checkFields,
  fields,
  flag,
  flagOr,
  integer,
  oneOf,
  provided,
  record,
  text,
  texts,
  trueOr,
  yes,
  type Fields,
} from '../options.js'
import { versionPolicyField, type VersionPolicy } from './version-policy.js'
import type { WarmUp } from './warm-up.js'
import { labelsOption } from './labels.js'

/** What a model's outputs mean. */
export interface ClassificationTask {
  readonly type: 'classification'
  /** The output with a score a class: `[batch, classes]`, or `[batch, 1]` for two classes. */
  readonly output: string
  /** Class names in the order of the scores. Default: those the artifact carries, else `"0"`, `"1"`, ... */
  readonly classes?: readonly string[]
  /** What turns scores into probabilities, where the model does not. Default: `"none"`. */
  readonly activation?: 'none' | 'softmax' | 'sigmoid'
}

export type Task = ClassificationTask

export interface BatchingOptions {
  /**
   * The user's word that the model's rows do not affect each other. Default: for an ONNX model it is proven first, and
   * batching stays off where it can't be.
   */
  readonly safe?: true
  /**
   * The most rows of one run; requests above it are split. Default: as many as pay, by what runs of the model cost, up
   * to 128; a request of more is split.
   */
  readonly maxBatchSize?: number
  /**
   * How long an idle session waits for more rows, or less where a deadline is near. Default: 0, what arrives during a
   * run is the next batch.
   */
  readonly maxDelayMs?: number
  /** The most elements of one run: its rows times those of the longest, of all inputs together. Default: no bound. */
  readonly maxBatchElements?: number
  /**
   * Inputs whose rows may be of different lengths, which are filled up to share a run: the user's word that the model
   * gives the same for a row that was. Default: only rows of equal shapes share one.
   */
  readonly ragged?: RaggedOptions
}

/** What every kind of model is served with. */
export interface CommonOptions {
  /** For people; shown by `GET /models`. */
  readonly description?: string
  /** The version that serves at start. Default: the highest. */
  readonly current?: string
  /**
   * What a version does that comes into the model's folder while that is watched: `"activate"`, a higher one than the
   * current is loaded and serves; `"load"`, it is loaded beside; `"ignore"`, it is known. Default: `"activate"`.
   */
  readonly onNewVersion?: 'activate' | 'load' | 'ignore'
  /**
   * The versions that are loaded: `"all"`, `{ "latest": 2 }`, or `{ "only": ["1", "2"] }`, none of which but these comes to
   * serve by itself. Default: the one that serves.
   */
  readonly versions?: VersionPolicy
  /**
   * Loads the model with the first request that needs it, rather than at start; readiness does not wait for it.
   * Default: false.
   */
  readonly lazy?: boolean
  /**
   * Movable names for versions, such as `{ "stable": "1" }`; the versions they name are loaded at start. Default: none.
   */
  readonly labels?: Readonly<Record<string, string>>
  /** Versions that stay loaded after a switch away from them, for a rollback. Default: 1. */
  readonly keepPrevious?: number
  /**
   * Joins requests to batches. `true` is the user's word that the model's rows do not affect each other, and `false`
   * turns batching off. Default: off, until the rows of an ONNX model are proven not to.
   */
  readonly batching?: boolean | BatchingOptions
  /**
   * Gives an answer again to an equal input, and computes once for equal requests under way together. `true` takes
   * the defaults. Default: off, since digesting an input costs about 0.1 ms for each 200 kB.
   */
  readonly cache?: true | CacheOptions
  /** The deadline of a request that names none, in milliseconds from its call. Default: none. */
  readonly timeoutMs?: number
  /**
   * Rows that may wait for a version; a request beyond is refused at once with QUEUE_FULL. Where requests are not split,
   * since batching is off or not proven, it is the most rows of a request as well. Default: 1024.
   */
  readonly maxQueueRows?: number
  /** Bytes of inputs that may wait for a version. Default: 256 MiB. */
  readonly maxQueueBytes?: number
  /**
   * Unloads a lazy model, all its versions, once no request was answered by it for so long; the next request loads it
   * again. Only with `lazy`. Default: it stays loaded.
   */
  readonly idleUnloadMs?: number
  /**
   * The model that answers, with the same input, where this one can't: it has no version that serves, its queue is
   * full, or its run failed. Default: none.
   */
  readonly fallback?: string
}

/** What an ONNX model is served with: the same in code and in `models/<name>/model.json`. */
export interface ModelOptions extends CommonOptions {
  /** How outputs become `prediction` and `confidence`. Default: the outputs themselves are the prediction. */
  readonly task?: Task
  /**
   * Where sessions run: in a `"thread"` of their own; in a child `"process"`, which may crash or be killed and costs
   * nothing but the runs it computed; `"inline"` on the event loop, which only suits models of a few microseconds; or
   * `"auto"`, which starts in a thread and measures: a small model whose largest batch costs less
   * than the way to a thread moves inline, and one that is always asked has several sessions where they get more
   * done. Default: `"auto"`.
   */
  readonly placement?: Placement
  /**
   * Sessions of a version, each in a thread or process of its own; not inline. A number ends the search of `placement: "auto"`.
   * Default: 1, or what `auto` finds best.
   */
  readonly instances?: number
  /**
   * Whether a version has a worker thread of its `"own"`, or lives in the one thread that all models with `"shared"`
   * have: it saves some 9 MB a model, they take turns, and one that dies or loads costs or delays the others. Default:
   * `"own"`.
   */
  readonly worker?: 'own' | 'shared'
  /**
   * How long a run may compute, without its waits. A longer one is given up with RUN_TIMEOUT; its process is killed and
   * started again. A thread can't be killed: it is left to its run, and another takes its place. Not inline. Default:
   * as long as it takes.
   */
  readonly runTimeoutMs?: number
  /**
   * How often a request is run again whose worker died, alone each time, within its deadline. A run that was given up
   * (RUN_TIMEOUT) is not. Not inline, where there is no worker. Default: 0.
   */
  readonly retries?: number
  /**
   * Threads one run may use, clamped to the cores; a number ends the search of `placement: "auto"`, and more than 1 is
   * refused inline. Default: the cores of the process, shared among the instances; 1 when inline.
   */
  readonly intraOpThreads?: number
  /** How onnxruntime loads and runs the model, by its own names. */
  readonly session?: SessionOptions
  /**
   * Execution providers of onnxruntime-node, the first before the others; one that can't be had is left out with a
   * warning. Default: `["cpu"]`.
   */
  readonly providers?: readonly Provider[]
  /**
   * Inputs, as a caller sends them, that are run before a version is ready, so that no request is its first; one that
   * fails, fails the load. `true`: two rows made up from the metadata, for the session alone where code makes its
   * inputs. Default: none.
   */
  readonly warmUp?: WarmUp
}

/** What a custom model is served with. */
export interface CustomModelOptions extends Omit<CommonOptions, 'batching'> {
  /**
   * Joins requests to batches: `run` is given rows of several. Limits say so too. Default: false, one row for each call.
   */
  readonly batching?: boolean | RowBatchingOptions
  /** Calls of `run` that may be under way at once. Default: 8. */
  readonly concurrency?: number
  /**
   * Inputs, as a caller sends them, that are run before a version is ready, so that no request is its first; one that
   * fails, fails the load. Default: none.
   */
  readonly warmUp?: readonly unknown[]
}

/** The most rows of one run where its size is learnt. */
const mostLearntRows = 128

/** The most rows of one run, where batching is on. */
export function maxBatchSizeOf(batching: boolean | BatchingOptions | undefined): number {
  return (typeof batching === 'object' ? batching.maxBatchSize : undefined) ?? mostLearntRows
}

export const taskFields: Fields<ClassificationTask> = {
  type: oneOf('classification'),
  output: text,
  classes: texts,
  activation: oneOf('none', 'softmax', 'sigmoid'),
}

export const cacheFields: Fields<CacheOptions> = {
  ttlMs: integer(1),
  maxEntries: integer(1),
  maxBytes: integer(1),
  staleOnErrorMs: integer(0),
}

export const raggedInputFields: Fields<RaggedInput> = {
  axis: integer(1, 64),
  padValue: provided('a number or a text', (value) => ['number', 'string'].includes(typeof value), {
    type: ['number', 'string'],
  }),
}

export const raggedOutputFields: Fields<RaggedOutput> = { axis: integer(1, 64), like: text }

export const raggedFields: Fields<RaggedOptions> = {
  inputs: record(fields(raggedInputFields)),
  outputs: record(fields(raggedOutputFields)),
  lengthBuckets: provided(
    'a list of lengths, at least one',
    (value) =>
      Array.isArray(value) && value.length > 0 && value.every((length) => integer(1).accepts(length)),
    { type: 'array', items: integer(1).schema, minItems: 1 },
  ),
}

export const batchingFields: Fields<BatchingOptions> = {
  safe: yes,
  maxBatchSize: integer(1, 65_536),
  maxDelayMs: integer(0, 60_000),
  maxBatchElements: integer(1),
  ragged: fields(raggedFields, ['inputs']),
}

export const commonFields: Fields<CommonOptions> = {
  description: text,
  current: text,
  onNewVersion: oneOf('activate', 'load', 'ignore'),
  versions: versionPolicyField,
  lazy: flag,
  labels: labelsOption,
  keepPrevious: integer(0, 16),
  batching: flagOr(fields(batchingFields)),
  cache: trueOr(fields(cacheFields)),
  timeoutMs: integer(1, 2 ** 31 - 1),
  maxQueueRows: integer(1),
  maxQueueBytes: integer(1),
  idleUnloadMs: integer(1, 2 ** 31 - 1),
  fallback: text,
}

const samples = provided<readonly unknown[]>(
  'a list of inputs, at least one',
  (value) => Array.isArray(value) && value.length > 0,
  { type: 'array', minItems: 1 },
)

export const modelFields: Fields<ModelOptions> = {
  ...commonFields,
  task: fields(taskFields, ['type', 'output']),
  placement: oneOf('auto', 'thread', 'process', 'inline'),
  instances: integer(1, 64),
  worker: oneOf('own', 'shared'),
  runTimeoutMs: integer(1, 2_147_483_647),
  retries: integer(0, 10),
  intraOpThreads: integer(1, 1024),
  session: sessionOption,
  providers: providersOption,
  warmUp: trueOr(samples),
}

/** How rows of any values are joined: they have neither elements to be counted nor lengths to be filled up. */
export type RowBatchingOptions = Omit<BatchingOptions, 'maxBatchElements' | 'ragged'>

const rowBatchingFields: Fields<RowBatchingOptions> = {
  safe: batchingFields.safe,
  maxBatchSize: batchingFields.maxBatchSize,
  maxDelayMs: batchingFields.maxDelayMs,
}

export const customModelFields: Fields<CustomModelOptions> = {
  ...commonFields,
  batching: flagOr(fields(rowBatchingFields)),
  concurrency: integer(1, 10_000),
  warmUp: samples,
}

/** What `<version>/model.json` may override for its version. */
export type VersionConfig = Pick<ModelOptions, 'task'>

export const versionFields: Fields<VersionConfig> = { task: modelFields.task }

/**
 * Reads `models/<name>/model.json`; a model without one has no options.
 * @throws ServingError INVALID_CONFIG
 */
export async function readModelConfig(path: string): Promise<ModelOptions> {
  return readConfig(path, modelFields)
}

/** @throws ServingError INVALID_CONFIG */
export async function readVersionConfig(path: string): Promise<VersionConfig> {
  return readConfig(path, versionFields)
}

async function readConfig<T extends object>(path: string, allowed: Fields<T>): Promise<T> {
  let json: string
  try {
    json = await readFile(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return {} as T
    throw new ServingError('INVALID_CONFIG', `${path} could not be read: ${messageOf(error)}`, {
      cause: error,
    })
  }
  let value: unknown
  try {
    value = JSON.parse(json.replace(/^\uFEFF/, ''))
  } catch (error) {
    throw new ServingError('INVALID_CONFIG', `${path} is not JSON: ${messageOf(error)}`, { cause: error })
  }
  // Editors read it, and we do not.
  checkFields(value, { ...allowed, $schema: text } as Fields<T & { $schema: string }>, path, 'INVALID_CONFIG')
  const { $schema: _, ...config } = value
  return config as unknown as T
}
