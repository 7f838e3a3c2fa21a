import { ServingError } from '../errors.js'
import type { ModelSignature } from '../execution/session.js'
import { isPlainObject, provided, show, yes, type Fields } from '../options.js'
import { bytesOf, ownCopy, ownRows } from '../tensor/batch.js'
import { checkedTensor } from '../tensor/copy.js'
import { digest } from '../tensor/digest.js'
import { mismatch, ValueMismatch } from '../tensor/mismatch.js'
import { slabCopy } from '../tensor/slab.js'
import {
  describe,
  describeShape,
  elementCount,
  emptyRecord,
  isTensorLike,
  type Feeds,
  type Tensor,
  type TensorInfo,
} from '../tensor/tensor.js'
import type { Outcome } from './classification.js'
import type { Encoded, Kept, RequestCodec } from './loaded-model.js'
import type { MetadataCodec } from './metadata-codec.js'

/** What is asked of a model in tensors. */
export interface TensorRequest {
  /** By the names of the inputs. */
  readonly inputs: Feeds
  /** The outputs that are wanted. Default: all. */
  readonly outputs?: readonly string[] | undefined
  /**
   * Gives the arrays of the inputs away, which the run may then take with it: they are not to be read or changed any more.
   * Default: they are copied, and stay the caller's.
   */
  readonly transfer?: true | undefined
}

export const tensorRequestFields: Fields<TensorRequest> = {
  inputs: provided('tensors by name', isPlainObject),
  outputs: provided(
    'a list of names',
    (value) => Array.isArray(value) && value.every((name) => typeof name === 'string'),
  ),
  transfer: yes,
}

interface EncodedTensors extends Encoded {
  readonly feeds: Feeds
  readonly wanted: readonly string[] | undefined
  /** Whether the feeds' arrays are nobody else's. */
  readonly isOwn: boolean
}

/**
 * Tensors in, tensors out: what clients of the Open Inference Protocol send, past the model's own schema, `encode` and
 * `decode`. Keys and kept answers are those of the model's other codec, so that both share a cache.
 */
export class TensorCodec implements RequestCodec {
  readonly takesExactIntegers = false
  readonly takesTensors = true
  readonly #label: string
  readonly #signature: ModelSignature
  readonly #batched: boolean
  readonly #metadata: Pick<MetadataCodec, 'unknownInput'>
  readonly #needsNoPrototype: boolean

  /**
   * @param label `model@version`, for messages
   * @param batched whether every input has a leading axis of variable length: the rows
   */
  constructor(
    label: string,
    signature: ModelSignature,
    batched: boolean,
    metadata: Pick<MetadataCodec, 'unknownInput'>,
  ) {
    this.#label = label
    this.#signature = signature
    this.#batched = batched
    this.#metadata = metadata
    this.#needsNoPrototype = signature.inputs.some(({ name }) => name === '__proto__')
  }

  /**
   * Checks tensors by name. Their arrays are copied by {@link own}, before anything else can run, unless they were given away.
   * @throws ServingError INVALID_INPUT
   */
  encode(value: unknown): EncodedTensors {
    const { inputs, outputs, transfer = false } = value as TensorRequest // made by `infer`, of what its caller gave
    if (!isPlainObject(inputs))
      throw this.#invalid(`the inputs must be tensors by name; got ${show(inputs)}.`)
    const feeds = emptyRecord<Tensor>(this.#needsNoPrototype)
    for (const info of this.#signature.inputs) {
      const tensor: unknown = Object.hasOwn(inputs, info.name) ? inputs[info.name] : undefined
      if (!isTensorLike(tensor))
        throw this.#invalid(`input "${info.name}" is missing; it expects ${describe(info)}.`)
      try {
        feeds[info.name] = checkedTensor(tensor, info)
        checkEmpty(tensor, info)
      } catch (error) {
        if (error instanceof ValueMismatch) throw this.#invalid(error.message)
        throw error
      }
    }
    for (const name in inputs)
      if (!Object.hasOwn(feeds, name)) throw this.#invalid(this.#metadata.unknownInput(name))
    this.#checkRows(feeds)
    this.#checkOutputs(outputs)
    return { feeds, wanted: outputs, isOwn: transfer }
  }

  #checkOutputs(wanted: readonly string[] = []): void {
    const names = this.#signature.outputs.map(({ name }) => name)
    const unknown = wanted.find((name) => !names.includes(name))
    if (unknown === undefined) return
    throw this.#invalid(`there is no output ${show(unknown)}. The outputs are ${names.join(', ')}.`)
  }

  #checkRows(feeds: Feeds): void {
    if (!this.#batched) return
    const rows = Object.entries(feeds).map(([name, { shape }]) => ({ name, rows: shape[0] ?? 0 }))
    if (rows.every((each) => each.rows === rows[0]?.rows)) return
    const each = rows.map(({ name, rows: own }) => `"${name}" has ${own}`).join(', ')
    throw this.#invalid(`all inputs must have as many rows; ${each}.`)
  }

  own({ feeds, isOwn }: EncodedTensors): Feeds {
    return isOwn ? feeds : slabCopy(feeds)
  }

  /** The tensors, to be kept: of an answer that others are given too, and of small parts of a batch, copies. */
  decode(outputs: Feeds, { wanted }: EncodedTensors, isShared: boolean): Outcome {
    const asked = wanted === undefined ? outputs : pick(outputs, wanted)
    return { prediction: isShared ? ownCopy(asked) : ownRows(asked) }
  }

  key({ feeds }: EncodedTensors): string {
    return digest(feeds)
  }

  keep(outputs: Feeds): Kept {
    return { value: ownCopy(outputs), bytes: bytesOf(outputs) }
  }

  #invalid(rest: string): ServingError {
    return new ServingError('INVALID_INPUT', `${this.#label}: ${rest}`)
  }
}

/** Rows without elements cost their turn all the same. */
const mostEmptyRows = 65_536

/** The runtime multiplies dimensions; where there are elements, these bound them. */
const mostElements = 2 ** 31 - 1

/** A tensor without elements may claim any shape. @throws ValueMismatch */
function checkEmpty({ shape, data }: Tensor, info: TensorInfo): void {
  if (data.length > 0) return
  const [rows = 0] = shape
  const others = elementCount(shape.filter((dimension) => dimension > 0))
  if (rows <= mostEmptyRows && others <= mostElements) return
  throw mismatch(
    info,
    `got an empty tensor of shape ${describeShape(shape)}; there may be at most ${mostEmptyRows} rows, and ${mostElements} as the product of its other dimensions.`,
  )
}

function pick(tensors: Feeds, names: readonly string[]): Feeds {
  const picked = emptyRecord<Tensor>(false)
  for (const name of names) {
    const tensor = tensors[name]
    if (tensor !== undefined) picked[name] = tensor
  }
  return picked
}
