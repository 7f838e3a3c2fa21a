import type { CustomModelOptions, ModelOptions, Task } from '../models/model-config.js'
import { customModelFields, modelFields } from '../models/model-config.js'
import type { Codec, OutputSpec } from '../models/codec.js'
import { exposureFields, type ExposureOptions } from '../models/exposure.js'
import { onnxFields } from '../models/definition.js'
import { namePattern } from '../models/repository.js'
import type { StandardSchemaV1 } from '../models/standard-schema.js'
import type { WarmUp } from '../models/warm-up.js'
import {
  fields,
  flag,
  integer,
  isPlainObject,
  oneOf,
  provided,
  record,
  text,
  texts,
  type Field,
  type Fields,
} from '../options.js'
import { isDType, type TensorInfo } from '../tensor/tensor.js'

/** Where a version of a remote model is, as far as it is elsewhere than the model's options say. */
export interface RemoteVersion {
  /** Default: the model's `model`. */
  readonly model?: string
  /** The version there. Default: the one that the server has current. */
  readonly version?: string
  /** Default: the model's `urls`. */
  readonly urls?: readonly string[]
  /**
   * In the place of the others, an artifact that is served here, in this process: an `.onnx` file, or a folder with one. So a
   * rollout can go from here to a server, and back.
   */
  readonly source?: string
}

/** How the versions run that are served here. */
export type LocalOptions = Pick<
  ModelOptions,
  'placement' | 'instances' | 'worker' | 'intraOpThreads' | 'session' | 'providers'
>

/** When a server that fails is left alone. */
export interface CircuitOptions {
  /** Failures in a row after which it is. Default: 5. */
  readonly failures?: number
  /** For how long, in milliseconds; then one request finds out whether it answers again. Default: 10,000. */
  readonly openMs?: number
}

/** What a remote model takes and gives. */
export interface RemoteSignature {
  /** A dimension that may vary is a name, or ''. */
  readonly inputs: readonly TensorInfo[]
  readonly outputs: readonly TensorInfo[]
}

/** How a remote model is reached. */
export interface RemoteAccess {
  /** The server that the model lies on, with the path before `/v2` where there is one; over gRPC `host:port`. */
  readonly url?: string
  /** In the place of `url`, several servers with the same model: the first is asked while it answers. */
  readonly urls?: readonly string[]
  /** The model's name there. */
  readonly model: string
  /** The one version there that is served. Default: all that the server has; one, named `1`, where it names none. */
  readonly version?: string
  /**
   * In the place of `version`, the versions by names of your own, and where each is: as versions they can be other models or
   * servers. Default: those that the server has.
   */
  readonly remoteVersions?: Readonly<Record<string, RemoteVersion>>
  /** How the versions with a `source` run: options of ONNX models. Default: theirs. */
  readonly local?: LocalOptions
  /** Default: `"rest"`. */
  readonly protocol?: 'rest' | 'grpc'
  /** Sent with every request, over gRPC as metadata: an `authorization`, say. Default: none. */
  readonly headers?: Readonly<Record<string, string>>
  /** Whether tensors go as bytes over REST, rather than as JSON. Default: as the server says. */
  readonly binary?: boolean
  /** What the model takes and gives. Default: as the server says; some do not. */
  readonly signature?: RemoteSignature
  /** How long one attempt may take, in milliseconds; then the next server is asked. Default: 10,000. */
  readonly attemptTimeoutMs?: number
  /** Attempts after one that failed for the server's fault, at the next server where there is one. Default: 2. */
  readonly retries?: number
  /** Between checks whether the model is ready at each server, in milliseconds; 0: never. Default: 10,000. */
  readonly healthIntervalMs?: number
  /** Runs under way at once. Default: 8. */
  readonly concurrency?: number
  /** The largest answer that is taken of a server, inflated, in bytes. Default: 268,435,456. */
  readonly maxResponseBytes?: number
  /** When a server that fails is left alone. Default: after 5 failures in a row, for 10,000 ms. */
  readonly circuit?: CircuitOptions
}

export interface RemoteOptions<P, O, S, I>
  extends RemoteAccess, Omit<CustomModelOptions, 'concurrency' | 'warmUp'>, ExposureOptions, Codec<P, O, S> {
  /** Any Standard Schema (zod, valibot, arktype ...): what callers are held to at run time. */
  readonly input?: StandardSchemaV1<I, P>
  /** The outputs that are used and their dtypes: checked at load, typed in `decode`. Default: all. */
  readonly outputs?: S
  /** How outputs become `prediction` and `confidence`. Default: the outputs themselves are the prediction. */
  readonly task?: Task
  /**
   * Inputs, as a caller sends them, that are run before a version is ready; one that fails, fails the load. `true`: two rows
   * made up from the metadata. Default: none.
   */
  readonly warmUp?: WarmUp
}

const tensorInfos: Field<readonly TensorInfo[]> = provided(
  'a list of { name, dtype, shape }, at least one',
  (value) => Array.isArray(value) && value.length > 0 && value.every(isTensorInfo),
)

function isTensorInfo(value: unknown): boolean {
  if (!isPlainObject(value)) return false
  const { name, dtype, shape } = value
  return typeof name === 'string' && isDType(dtype) && Array.isArray(shape) && shape.every(isDimension)
}

function isDimension(value: unknown): boolean {
  return typeof value === 'string' || integer(0).accepts(value)
}

export const signatureFields: Fields<RemoteSignature> = { inputs: tensorInfos, outputs: tensorInfos }

export const circuitFields: Fields<CircuitOptions> = {
  failures: integer(1, 1000),
  openMs: integer(1, 2 ** 31 - 1),
}

export const remoteVersionFields: Fields<RemoteVersion> = {
  model: text,
  version: text,
  urls: texts,
  source: text,
}

const localFields: Fields<LocalOptions> = {
  placement: modelFields.placement,
  instances: modelFields.instances,
  worker: modelFields.worker,
  intraOpThreads: modelFields.intraOpThreads,
  session: modelFields.session,
  providers: modelFields.providers,
}

const versionsByName: Field<Readonly<Record<string, RemoteVersion>>> = {
  ...record(fields(remoteVersionFields)),
  expected: 'an object of versions by name, at least one',
  accepts: (value): value is Readonly<Record<string, RemoteVersion>> =>
    isPlainObject(value) &&
    Object.keys(value).length > 0 &&
    Object.entries(value).every(([name, each]) => namePattern.test(name) && isPlainObject(each)),
}

export const accessFields: Fields<RemoteAccess> = {
  url: text,
  urls: texts,
  model: text,
  version: provided(
    'a name of letters, digits, ".", "_" and "-"',
    (value) => typeof value === 'string' && namePattern.test(value),
  ),
  remoteVersions: versionsByName,
  local: fields(localFields),
  protocol: oneOf('rest', 'grpc'),
  headers: provided(
    'an object of texts by name',
    (value) => isPlainObject(value) && Object.values(value).every((each) => typeof each === 'string'),
  ),
  binary: flag,
  signature: fields(signatureFields, ['inputs', 'outputs']),
  attemptTimeoutMs: integer(1, 2 ** 31 - 1),
  retries: integer(0, 100),
  healthIntervalMs: integer(0, 2 ** 31 - 1),
  concurrency: customModelFields.concurrency,
  maxResponseBytes: integer(1, 2 ** 32),
  circuit: fields(circuitFields),
}

export const remoteFields: Fields<RemoteOptions<never, unknown, OutputSpec, never>> = {
  ...customModelFields,
  ...exposureFields,
  ...accessFields,
  input: onnxFields.input,
  outputs: onnxFields.outputs,
  encode: onnxFields.encode,
  decode: onnxFields.decode,
  task: modelFields.task,
  warmUp: modelFields.warmUp,
}
