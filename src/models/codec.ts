import { asServingError, messageOf, ServingError } from '../errors.js'
import type { ModelSignature } from '../execution/session.js'
import { bytesOf, ownCopy, ownRows } from '../tensor/batch.js'
import { copyTensor } from '../tensor/copy.js'
import { digest } from '../tensor/digest.js'
import { slabCopy } from '../tensor/slab.js'
import { ValueMismatch } from '../tensor/mismatch.js'
import { describe, isTensorLike, type DType, type DTypes, type Feeds, type Tensor } from '../tensor/tensor.js'
import { outcomeOf, type Outcome } from './classification.js'
import type { Encoded, Kept, RequestCodec } from './loaded-model.js'
import { MetadataCodec } from './metadata-codec.js'
import { TensorCodec } from './tensor-codec.js'
import type { TensorInterface } from './tensor-interface.js'
import type { Task } from './model-config.js'
import { plainCopy } from './plain-copy.js'
import { validated, type StandardSchemaV1 } from './standard-schema.js'

export type Awaitable<T> = T | Promise<T>

/** Outputs by name and the dtype each must have: checked at load, typed in `decode`. */
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

interface EncodedFeeds extends Encoded {
  /** The input as the schema gave it back, for decode. */
  readonly input: unknown
  /** What encode returned, for decode; left untouched by the run. */
  readonly source: Feeds
  /** What the session gets, by way of {@link VersionCodec.own}. */
  readonly feeds: Feeds
  /** Whether the feeds may share arrays with the caller's input. */
  readonly isBorrowed: boolean
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
export class VersionCodec implements RequestCodec {
  /** Whether every input has a leading axis of variable length: the rows. */
  readonly batched: boolean
  /** For those who ask in tensors. */
  readonly tensors: TensorCodec
  readonly #label: string
  readonly #signature: ModelSignature
  readonly #options: CodecOptions
  readonly #metadata: MetadataCodec

  /**
   * @param label `model@version`, for messages
   * @throws ServingError INVALID_CODEC when task or outputs do not fit the artifact
   */
  constructor(label: string, signature: ModelSignature, options: CodecOptions) {
    const { inputs } = signature
    this.batched = inputs.length > 0 && inputs.every(({ shape }) => typeof shape[0] === 'string')
    this.#label = label
    this.#signature = signature
    this.#options = options
    const outputs = options.outputs && Object.keys(options.outputs)
    this.#metadata = new MetadataCodec(label, signature, this.batched, options.task, outputs)
    this.tensors = new TensorCodec(label, signature, this.batched, this.#metadata)
    for (const [name, dtype] of Object.entries(options.outputs ?? {})) this.#checkOutput(name, dtype)
    if (options.task !== undefined) {
      this.#checkOutput(options.task.output)
      this.#checkTask(options.task)
    }
    // The runtime would find no output of this name: it keeps them in a plain object.
    if (signature.outputs.some(({ name }) => name === '__proto__')) {
      throw new ServingError('INVALID_CODEC', `${label}: an output can't be named "__proto__".`)
    }
  }

  /** Whether the scores of an output can be those of the task's classes, as far as its metadata tells. */
  #checkTask({ output, classes = this.#signature.classes[output] }: Task): void {
    const info = this.#signature.outputs.find(({ name }) => name === output)
    const scores = info?.shape.at(-1)
    const isNumeric = info?.dtype !== 'string' && info?.dtype !== 'bool'
    const count = classes?.length
    const isOneOfTwo = scores === 1 && count === 2
    if (isNumeric && (count === undefined || typeof scores !== 'number' || scores === count || isOneOfTwo))
      return
    const got = info === undefined ? 'nothing' : describe(info)
    const expected = count === undefined ? 'scores' : `a score for each of ${count} classes`
    throw new ServingError(
      'INVALID_CODEC',
      `${this.#label}: the task needs ${expected} in output "${output}", which is ${got}.`,
    )
  }

  /** Whether plain values become 64-bit integers here, with no code of the user's between. */
  get takesExactIntegers(): boolean {
    return (
      this.takesTensors && this.#signature.inputs.some(({ dtype }) => dtype === 'int64' || dtype === 'uint64')
    )
  }

  /** @param maxRows the rows of one run at most, where there are any */
  tensorInterface(maxRows: number): TensorInterface {
    const { inputs, outputs, classes } = this.#signature
    const { task } = this.#options
    const ofTask = task?.classes === undefined ? {} : { [task.output]: task.classes }
    const maxBatchSize = this.batched ? maxRows : 0
    return { inputs, outputs, hasRows: this.batched, maxBatchSize, classes: { ...classes, ...ofTask } }
  }

  get takesTensors(): boolean {
    const { input, encode } = this.#options
    return input === undefined && encode === undefined
  }

  #checkOutput(name: string, dtype?: DType): void {
    const { outputs } = this.#signature
    const found = outputs.find((output) => output.name === name)
    if (found !== undefined && (dtype === undefined || found.dtype === dtype)) return
    const names = outputs.map((output) => `"${output.name}" (${describe(output)})`).join(', ')
    const problem =
      found === undefined ? `there is no output "${name}"` : `output "${name}" is not ${dtype ?? ''}`
    throw new ServingError('INVALID_CODEC', `${this.#label}: ${problem}. The model gives ${names}.`)
  }

  /**
   * Reads the input before it returns, unless a schema or the user's encode comes first: what the caller changes
   * afterwards changes nothing.
   *
   * @param signal handed to the user's encode
   * @throws ServingError INVALID_INPUT, INVALID_CODEC
   */
  encode(value: unknown, signal?: AbortSignal): Awaitable<EncodedFeeds> {
    const { input, encode } = this.#options
    if (input === undefined && encode === undefined) return this.#encodeByMetadata(value, true)
    return this.#encodeByUser(value, signal)
  }

  /** @param atOnce whether nobody can change the input before it is the session's own */
  #encodeByMetadata(input: unknown, atOnce: boolean): EncodedFeeds {
    // Without a decode of the user's nobody else sees the feeds, and they need no second copy.
    const isSeen = this.#options.decode !== undefined
    const mayBorrow = atOnce && !isSeen
    const feeds = this.#metadata.encode(input, mayBorrow)
    const isBorrowed = mayBorrow && hasArrayOf(feeds, input as Readonly<Record<string, unknown>>)
    return {
      // Nobody else looks at it, and it is the largest thing that a waiting request would keep.
      input: isSeen ? input : undefined,
      source: isSeen ? this.#copy(feeds) : feeds,
      feeds,
      isBorrowed,
      rows: this.#rows(feeds, 'INVALID_INPUT'),
    }
  }

  own({ feeds, isBorrowed }: EncodedFeeds): Feeds {
    return isBorrowed ? slabCopy(feeds) : feeds
  }

  async #encodeByUser(value: unknown, signal = new AbortController().signal): Promise<EncodedFeeds> {
    const { encode } = this.#options
    const { input: schema } = this.#options
    // The schema may take its time, and hand on what it was given.
    const input = schema === undefined ? value : await validated(this.#label, schema, plainCopy(value).copy)
    if (encode === undefined) return this.#encodeByMetadata(input, false)
    let source: Feeds
    try {
      source = await encode(input as never, { signal })
    } catch (error) {
      throw asServingError(error, 'INVALID_CODEC', `${this.#label}: encode failed`)
    }
    const feeds = this.#copy(source)
    return { input, source, feeds, isBorrowed: false, rows: this.#rows(feeds, 'INVALID_CODEC') }
  }

  /**
   * @param isShared whether others have the outputs as well: the user's decode is then given a copy
   * @throws ServingError INVALID_CODEC
   */
  decode(outputs: Feeds, encoded: EncodedFeeds, isShared = false): Awaitable<Outcome> {
    if (this.#options.decode === undefined) return this.#metadata.decode(outputs, encoded.rows)
    return this.#decodeByUser(isShared ? ownCopy(outputs) : ownRows(outputs), encoded)
  }

  async #decodeByUser(outputs: Feeds, { input, source }: EncodedFeeds): Promise<Outcome> {
    try {
      return outcomeOf(
        await this.#options.decode?.(outputs as never, { input: input as never, feeds: source }),
      )
    } catch (error) {
      throw asServingError(error, 'INVALID_CODEC', `${this.#label}: decode failed`)
    }
  }

  key({ feeds }: EncodedFeeds): string {
    return digest(feeds)
  }

  /** A row may be a view of its batch, which whoever keeps it would keep alive as a whole. */
  keep(outputs: Feeds): Kept {
    return { value: ownCopy(outputs), bytes: bytesOf(outputs) }
  }

  /** Checks feeds that user code can reach and copies them: the session may detach its arrays, theirs stay theirs. */
  #copy(feeds: Feeds): Feeds {
    const copies = Object.create(null) as Record<string, Tensor>
    try {
      for (const info of this.#signature.inputs) {
        const tensor: unknown = feeds[info.name]
        if (!isTensorLike(tensor)) throw new ValueMismatch(`encode gave no tensor for input "${info.name}".`)
        copies[info.name] = copyTensor(tensor, info)
      }
      const unknown = Object.keys(feeds).find((name) => !Object.hasOwn(copies, name))
      if (unknown !== undefined) throw new ValueMismatch(this.#metadata.unknownInput(unknown))
    } catch (error) {
      throw new ServingError('INVALID_CODEC', `${this.#label}: ${messageOf(error)}`, { cause: error })
    }
    return copies
  }

  #rows(feeds: Feeds, code: 'INVALID_INPUT' | 'INVALID_CODEC'): number {
    if (!this.batched) return 1
    let rows: number | undefined
    for (const name in feeds) {
      const own = feeds[name]?.shape[0] ?? 0
      if (rows !== undefined && rows !== own) throw this.#uneven(feeds, code)
      rows = own
    }
    if (rows !== undefined && rows > 0) return rows
    throw new ServingError(code, `${this.#label}: an empty batch has no answer; send at least one row.`)
  }

  #uneven(feeds: Feeds, code: 'INVALID_INPUT' | 'INVALID_CODEC'): ServingError {
    const each = Object.entries(feeds).map(([name, { shape }]) => `"${name}" has ${shape[0] ?? 0}`)
    return new ServingError(code, `${this.#label}: all inputs must have as many rows; ${each.join(', ')}.`)
  }
}

/** Whether a tensor has its array from the value of its name. */
function hasArrayOf(feeds: Feeds, values: Readonly<Record<string, unknown>>): boolean {
  for (const name in feeds) if (feeds[name]?.data === values[name]) return true
  return false
}
