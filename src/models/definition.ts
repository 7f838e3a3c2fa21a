import { ServingError } from '../errors.js'
import { checkFields, func, provided, text, type Fields } from '../options.js'
import { isDType } from '../tensor/tensor.js'
import type { Awaitable, Codec, OutputSpec } from './codec.js'
import { exposureFields, type ExposureOptions } from './exposure.js'
import { modelFields, type ModelOptions } from './model-config.js'
import { isStandardSchema, type StandardSchemaV1 } from './standard-schema.js'
import type { VersionInfo } from './version.js'

declare const io: unique symbol

/** A model's definition, whatever it takes and gives. */
export interface AnyModel {
  readonly kind: 'onnx'
}

/** A model's definition, with the types of a caller's input and of the outcome. */
export interface Model<I, O> extends AnyModel {
  readonly [io]: (input: I) => O
}

export type Json = Readonly<Record<string, unknown>>

export interface OnnxOptions<P, O, S, I> extends ModelOptions, ExposureOptions, Codec<P, O, S> {
  /** A folder of version folders, or one `.onnx` file. */
  readonly source: string
  /** Any Standard Schema (zod, valibot, arktype ...): what callers are held to at run time. */
  readonly input?: StandardSchemaV1<I, P>
  /** The outputs that are used and their dtypes: checked at load, typed in `decode`. Default: all. */
  readonly outputs?: S
  /** Makes encode and decode for one version, from what lies in its folder. */
  readonly codec?: (version: VersionInfo) => Awaitable<Codec<P, O, S>>
}

/** `onnx()`'s model with its options: what `createServing` reads. */
export interface OnnxDefinition extends AnyModel {
  readonly options: OnnxOptions<never, unknown, OutputSpec, never>
}

const onnxFields: Fields<OnnxOptions<never, unknown, OutputSpec, never>> = {
  ...modelFields,
  ...exposureFields,
  source: text,
  input: provided('a Standard Schema, such as one of zod', isStandardSchema),
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
  const takesBytes = [options.input, options.encode, options.codec].some((part) => part !== undefined)
  if (options.accepts !== undefined && !takesBytes) {
    throw new ServingError(
      'INVALID_OPTIONS',
      'onnx(): accepts needs an input, encode or codec: the bytes are for it.',
    )
  }
  return { kind: 'onnx', options } as unknown as Model<I, O>
}

export function isOnnxDefinition(value: unknown): value is OnnxDefinition {
  return (
    typeof value === 'object' &&
    value !== null &&
    'kind' in value &&
    value.kind === 'onnx' &&
    'options' in value
  )
}
