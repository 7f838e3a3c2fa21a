import { ServingError } from '../errors.js'
import { placementObjection } from '../execution/open-session.js'
import { checkFields, func, provided, text, type Fields } from '../options.js'
import { isDType } from '../tensor/tensor.js'
import type { Awaitable, Codec, OutputSpec } from './codec.js'
import { exposureFields, type ExposureOptions } from './exposure.js'
import { customModelFields, modelFields, type CustomModelOptions, type ModelOptions } from './model-config.js'
import type { VersionInfo } from './onnx-model.js'
import type { ModelDefinition } from './model-definition.js'
import { sourceField, type ModelSource } from './sources/model-source.js'
import { isStandardSchema, type StandardSchemaV1 } from './standard-schema.js'

declare const io: unique symbol
declare const item: unique symbol

/** A model's definition, whatever it takes and gives. */
export interface AnyModel {
  readonly kind: 'onnx' | 'custom' | 'pipeline' | 'backend'
}

/** A model's definition, with the types of a caller's input and of the outcome. */
export interface Model<I, O> extends AnyModel {
  readonly [io]: (input: I) => O
}

/** One that can be asked item by item, with the type of an item. */
export interface StreamModel<I, O, T> extends Model<I, O> {
  readonly [item]: T
}

export type Json = Readonly<Record<string, unknown>>

export interface OnnxOptions<P, O, S, I> extends ModelOptions, ExposureOptions, Codec<P, O, S> {
  /**
   * A folder of version folders, or one `.onnx` file; the bytes of one; or `{ url, sha256 }`, where one is fetched from.
   */
  readonly source: ModelSource
  /** Any Standard Schema (zod, valibot, arktype ...): what callers are held to at run time. */
  readonly input?: StandardSchemaV1<I, P>
  /** The outputs that are used and their dtypes: checked at load, typed in `decode`. Default: all. */
  readonly outputs?: S
  /** Makes encode and decode for one version, from what lies in its folder. */
  readonly codec?: (version: VersionInfo) => Awaitable<Codec<P, O, S>>
}

/** What a custom model is told of a call. */
interface RunContext {
  /** Aborts once nobody waits for an answer any more. */
  readonly signal: AbortSignal
}

/**
 * One of `run` and `stream` at least.
 * @typeParam T what `stream` yields
 */
export interface CustomOptions<R, P, O, I, T = never> extends CustomModelOptions, ExposureOptions {
  /**
   * A folder of version folders, or one file, whose place `load` is told. Default: none, the model is one version of
   * code alone.
   */
  readonly source?: string
  /** Any Standard Schema (zod, valibot, arktype ...): what callers are held to at run time. */
  readonly input?: StandardSchemaV1<I, P>
  /** Makes what `run` works with, once for each version that is loaded. */
  readonly load: (version: VersionInfo) => Awaitable<R>
  /**
   * Answers rows, each with an answer in its place; with `batching` several at once. An answer is a plain value, or
   * what `classify()` or `scored()` make. Default: the list of all that `stream` yields, for each row.
   */
  readonly run?: (resource: R, rows: P[], context: RunContext) => Awaitable<readonly O[]>
  /**
   * Answers one row item by item, mostly as an async generator: what `predictStream` asks. Its next item is asked for
   * when the caller asks for one, and it is told to return once nobody wants more. Default: none, the model has no
   * answers item by item.
   */
  readonly stream?: (resource: R, row: P, context: RunContext) => AsyncIterable<T> | Iterable<T>
  /** Gives the resource back, once the version is unloaded and its runs have ended. */
  readonly dispose?: (resource: R) => Awaitable<void>
  /** The key of a row in the `cache`. Default: the row itself, where it is plain data. */
  readonly cacheKey?: (row: P) => string
}

/** What `custom` makes. */
export type CustomModel<I, O, T> = [T] extends [never] ? Model<I, O> : StreamModel<I, O, T>

/** A definition with what `createServing` reads of it. */
interface Definition extends AnyModel {
  readonly options: { readonly source?: ModelSource }
}

export const inputField = provided<StandardSchemaV1<never, never>>(
  'a Standard Schema, such as one of zod',
  isStandardSchema,
)

export const onnxFields: Fields<OnnxOptions<never, unknown, OutputSpec, never>> = {
  ...modelFields,
  ...exposureFields,
  source: sourceField,
  input: inputField,
  outputs: provided(
    'an object of output names and dtypes',
    (value) => typeof value === 'object' && value !== null && Object.values(value).every(isDType),
  ),
  encode: func(),
  decode: func(),
  codec: func(),
}

/**
 * Defines an ONNX model for `createServing`. Types follow from `encode`, `decode`, `input` and `outputs`.
 * @throws ServingError INVALID_OPTIONS
 */
export function onnx<P = Json, O = unknown, const S extends OutputSpec = OutputSpec, I = P>(
  options: OnnxOptions<P, O, S, I>,
): Model<I, O> {
  checkFields<object>(options, onnxFields, 'onnx()', 'INVALID_OPTIONS')
  if ((options as Partial<typeof options>).source === undefined)
    throw new ServingError(
      'INVALID_OPTIONS',
      'onnx(): source is missing; it must be a folder, an .onnx file, its bytes, or { url, sha256 }.',
    )
  const objection = placementObjection(options)
  if (objection !== undefined) throw new ServingError('INVALID_OPTIONS', `onnx(): ${objection}`)
  const takesBytes = [options.input, options.encode, options.codec].some((part) => part !== undefined)
  if (options.accepts !== undefined && !takesBytes) {
    throw new ServingError(
      'INVALID_OPTIONS',
      'onnx(): accepts needs an input, encode or codec: the bytes are for it.',
    )
  }
  return { kind: 'onnx', options } as unknown as Model<I, O>
}

export const customFields: Fields<CustomOptions<never, never, unknown, never>> = {
  ...customModelFields,
  ...exposureFields,
  source: text,
  input: inputField,
  load: func(),
  run: func(),
  stream: func(),
  dispose: func(),
  cacheKey: func(),
}

/**
 * Defines a model of the user's own code for `createServing`: anything that answers rows, from a lookup to a call of
 * another service. It is queued, cached, measured and versioned like every model; its code runs on the event loop,
 * takes no permit, and may itself ask for predictions.
 *
 * Rows of plain data are copied when they are asked about, so that what the caller changes later changes nothing.
 * @throws ServingError INVALID_OPTIONS
 */
export function custom<R, P, T = never, O = [T] extends [never] ? unknown : T[], I = P>(
  options: CustomOptions<R, P, O, I, T> & ({ readonly run: unknown } | { readonly stream: unknown }),
): CustomModel<I, O, T> {
  checkFields<object>(options, customFields, 'custom()', 'INVALID_OPTIONS')
  // Where types are not checked, any may be missing.
  const { load, run, stream } = options as Partial<CustomOptions<R, P, O, I, T>>
  const missing = load === undefined ? 'load' : (run ?? stream) === undefined ? 'run' : undefined
  if (missing !== undefined)
    throw new ServingError('INVALID_OPTIONS', `custom(): ${missing} is missing; it must be a function.`)
  return { kind: 'custom', options } as unknown as CustomModel<I, O, T>
}

const kinds: readonly unknown[] = ['onnx', 'custom', 'pipeline', 'backend'] satisfies AnyModel['kind'][]

/** What a definition asks to be served; undefined for what is none. */
export function definitionOf(value: unknown): ModelDefinition | undefined {
  if (typeof value !== 'object' || value === null || !('kind' in value) || !('options' in value))
    return undefined
  const { kind, options } = value as { readonly kind: unknown } & Pick<Definition, 'options'>
  if (!kinds.includes(kind)) return undefined
  const { source, ...rest } = options
  return { kind, source, options: rest } as ModelDefinition
}
