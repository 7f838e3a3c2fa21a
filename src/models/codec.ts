import { asServingError, messageOf, ServingError } from '../errors.js'
import type { ModelSignature } from '../execution/session.js'
import { nearest, show } from '../options.js'
import { copyTensor, toTensor, ValueMismatch } from '../tensor/from-value.js'
import { describe, type DType, type DTypes, type Feeds, isTensorLike, type Tensor } from '../tensor/tensor.js'
import { rowOf, toValue } from '../tensor/to-value.js'
import { classify, outcomeOf, type Outcome } from './classification.js'
import type { Task } from './model-config.js'
import { describeIssues, type StandardSchemaV1 } from './standard-schema.js'

export type Awaitable<T> = T | Promise<T>

/** Outputs by name and the dtype each must have: fetched, checked at load, typed in `decode`. */
export type OutputSpec = Readonly<Record<string, DType>>

export type Outputs<S> = string extends keyof S
  ? Feeds
  : { readonly [K in keyof S]: Extract<Tensor, { dtype: S[K] }> & { readonly data: DTypes[S[K] & DType] } }

export interface EncodeContext {
  readonly signal: AbortSignal
}

export interface DecodeContext<P> {
  readonly input: P
  /** What `encode` returned. */
  readonly feeds: Feeds
}

/** How a caller's input becomes tensors, and tensors the caller's answer. Either side may be left to the metadata. */
export interface Codec<P, O, S> {
  /** Gives tensors with a leading batch axis of one or more rows. */
  readonly encode?: (input: P, context: EncodeContext) => Awaitable<Feeds>
  /** Gives a plain value (it becomes `prediction`), or what `classify()` or `scored()` make (adds `confidence`). */
  readonly decode?: (outputs: Outputs<S>, context: DecodeContext<P>) => Awaitable<O>
}

/** An input on its way through the model. */
export interface Encoded {
  /** The input as the schema gave it back. */
  readonly input: unknown
  /** What encode returned, for decode; left untouched by the run. */
  readonly source: Feeds
  /** The session's own copy. */
  readonly feeds: Feeds
  readonly rows: number
}

export interface CodecOptions {
  readonly task?: Task | undefined
  readonly input?: StandardSchemaV1 | undefined
  readonly outputs?: OutputSpec | undefined
  readonly encode?: ((input: never, context: EncodeContext) => Awaitable<Feeds>) | undefined
  readonly decode?: ((outputs: never, context: DecodeContext<never>) => Awaitable<unknown>) | undefined
}

/** The codec of one version: the user's own functions where given, else the artifact's metadata and the task. */
export class VersionCodec {
  /** Whether every input has a leading axis of variable length: the rows. */
  readonly batched: boolean
  readonly #label: string
  readonly #signature: ModelSignature
  readonly #options: CodecOptions

  /**
   * @param label `model@version`, for messages
   * @throws ServingError INVALID_CODEC when task or outputs do not fit the artifact
   */
  constructor(label: string, signature: ModelSignature, options: CodecOptions) {
    this.#label = label
    this.#signature = signature
    this.#options = options
    this.batched = signature.inputs.length > 0 && signature.inputs.every(({ shape }) => typeof shape[0] === 'string')
    const wanted = { ...options.outputs, ...(options.task && { [options.task.output]: undefined }) }
    for (const [name, dtype] of Object.entries(wanted)) this.#checkOutput(name, dtype)
  }

  #checkOutput(name: string, dtype: DType | undefined): void {
    const outputs = this.#signature.outputs
    const found = outputs.find((output) => output.name === name)
    if (found !== undefined && (dtype === undefined || found.dtype === dtype)) return
    const names = outputs.map((output) => `"${output.name}" (${describe(output)})`).join(', ')
    const problem = found === undefined ? `there is no output "${name}"` : `output "${name}" is not ${String(dtype)}`
    throw new ServingError('INVALID_CODEC', `${this.#label}: ${problem}. The model gives ${names}.`)
  }

  /** @throws ServingError INVALID_INPUT, INVALID_CODEC */
  async encode(value: unknown, signal?: AbortSignal): Promise<Encoded> {
    const input = await this.#validate(value)
    const { encode } = this.#options
    if (encode === undefined) {
      const feeds = this.#encodeByMetadata(input)
      // Without a decode of the user's nobody else sees the feeds, and one copy is enough.
      const source = this.#options.decode === undefined ? feeds : this.#copy(feeds, 'INTERNAL')
      return { input, source, feeds, rows: this.#rows(feeds, 'INVALID_INPUT') }
    }
    let source: Feeds
    try {
      source = await encode(input as never, { signal: signal ?? new AbortController().signal })
    } catch (error) {
      throw asServingError(error, 'INVALID_CODEC', `${this.#label}: encode failed`)
    }
    const feeds = this.#copy(source, 'INVALID_CODEC')
    return { input, source, feeds, rows: this.#rows(feeds, 'INVALID_CODEC') }
  }

  /** @throws ServingError INVALID_CODEC */
  async decode(outputs: Feeds, { input, source, rows }: Encoded): Promise<Outcome> {
    const { decode, task } = this.#options
    if (decode !== undefined) {
      try {
        return outcomeOf(await decode(outputs as never, { input: input as never, feeds: source }))
      } catch (error) {
        throw asServingError(error, 'INVALID_CODEC', `${this.#label}: decode failed`)
      }
    }
    return task === undefined ? this.#plain(outputs, rows) : this.#classification(outputs, rows, task)
  }

  async #validate(value: unknown): Promise<unknown> {
    const schema = this.#options.input
    if (schema === undefined) return value
    const result = await schema['~standard'].validate(value)
    if (result.issues === undefined) return result.value
    throw new ServingError('INVALID_INPUT', `${this.#label}: ${describeIssues(result.issues)}`)
  }

  #encodeByMetadata(value: unknown): Feeds {
    const { inputs } = this.#signature
    const fields = this.#fieldsOf(value)
    const feeds = Object.create(null) as Record<string, Tensor>
    for (const info of inputs) {
      if (!Object.hasOwn(fields, info.name) || fields[info.name] === undefined) {
        throw this.#invalid(`input "${info.name}" is missing; it expects ${describe(info)}.`)
      }
      try {
        feeds[info.name] = toTensor(fields[info.name], info, this.batched)
      } catch (error) {
        if (error instanceof ValueMismatch) throw this.#invalid(error.message)
        throw error
      }
    }
    const unknown = Object.keys(fields).find((name) => !inputs.some((info) => info.name === name))
    if (unknown !== undefined) throw this.#invalid(this.#unknownInput(unknown))
    return feeds
  }

  #fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
    if (typeof value === 'object' && value !== null && !Array.isArray(value) && !ArrayBuffer.isView(value)) {
      return value as Readonly<Record<string, unknown>>
    }
    const fields = this.#signature.inputs.map(({ name }) => `"${name}"`).join(', ')
    throw this.#invalid(`the input must be an object with ${fields}; got ${show(value)}.`)
  }

  #unknownInput(name: string): string {
    const names = this.#signature.inputs.map((info) => info.name)
    const near = nearest(name, names)
    return `there is no input ${show(name)}. ${near === undefined ? `The inputs are ${names.join(', ')}.` : `Did you mean "${near}"?`}`
  }

  /** Checks feeds that user code made and copies them: the session may detach its arrays, theirs stay theirs. */
  #copy(feeds: Feeds, code: 'INVALID_CODEC' | 'INTERNAL'): Feeds {
    const copies = Object.create(null) as Record<string, Tensor>
    try {
      for (const info of this.#signature.inputs) {
        const tensor: unknown = feeds[info.name]
        if (!isTensorLike(tensor)) throw new ValueMismatch(`encode gave no tensor for input "${info.name}".`)
        copies[info.name] = copyTensor(tensor, info)
      }
      const unknown = Object.keys(feeds).find((name) => !Object.hasOwn(copies, name))
      if (unknown !== undefined) throw new ValueMismatch(this.#unknownInput(unknown))
    } catch (error) {
      throw new ServingError(code, `${this.#label}: ${messageOf(error)}`, { cause: error })
    }
    return copies
  }

  #rows(feeds: Feeds, code: 'INVALID_INPUT' | 'INVALID_CODEC'): number {
    if (!this.batched) return 1
    const rows = new Map(Object.entries(feeds).map(([name, { shape }]) => [name, shape[0] ?? 0]))
    const [first = 0] = rows.values()
    if (first === 0) throw new ServingError(code, `${this.#label}: an empty batch has no answer; send at least one row.`)
    if ([...rows.values()].some((count) => count !== first)) {
      const counts = [...rows].map(([name, count]) => `"${name}" has ${count}`).join(', ')
      throw new ServingError(code, `${this.#label}: all inputs must have as many rows; ${counts}.`)
    }
    return first
  }

  /** The outputs themselves: the only one's value, else values by name; a row's without its batch axis. */
  #plain(outputs: Feeds, rows: number): Outcome {
    const values: Record<string, unknown> = Object.create(null) as Record<string, unknown>
    const names = Object.keys(this.#options.outputs ?? outputs)
    for (const name of names) {
      const tensor = outputs[name]
      if (tensor !== undefined) values[name] = this.#plainValue(tensor, rows)
    }
    const [only] = names
    return { prediction: names.length === 1 && only !== undefined ? values[only] : values }
  }

  #plainValue(tensor: Tensor, rows: number): unknown {
    if (!this.batched || rows !== 1 || tensor.shape[0] !== 1) return toValue(tensor)
    const row = rowOf(tensor, 0)
    return row.data.length === 1 && row.shape.length === 1 ? toValue({ ...row, shape: [] }) : toValue(row)
  }

  /** One row's class, confidence and scores; for a batch of rows, lists of them. */
  #classification(outputs: Feeds, rows: number, task: Task): Outcome {
    const scores = outputs[task.output]
    if (scores === undefined) throw new ServingError('INTERNAL', `${this.#label}: output "${task.output}" is missing`)
    const perRow = scores.data.length / rows
    const classes =
      task.classes ??
      this.#signature.classes[task.output] ??
      Array.from({ length: perRow === 1 ? 2 : perRow }, (_, i) => `${i}`)
    const options = { activation: task.activation ?? 'none' }
    if (rows === 1) return outcomeOf(classify(scores, classes, options))
    const all = Array.from({ length: rows }, (_, i) => classify(rowOf(scores, i), classes, options))
    return {
      prediction: all.map((row) => row.prediction),
      confidence: all.map((row) => row.confidence),
      scores: all.map((row) => row.scores),
    }
  }

  #invalid(rest: string): ServingError {
    return new ServingError('INVALID_INPUT', `${this.#label}: ${rest}`)
  }
}
