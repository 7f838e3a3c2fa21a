import { ServingError } from '../errors.js'
import type { ModelSignature } from '../execution/session.js'
import { isPlainObject, nearest, show } from '../options.js'
import { TensorReader } from '../tensor/from-value.js'
import { ValueMismatch } from '../tensor/mismatch.js'
import { describe, emptyRecord, type Feeds, type Tensor } from '../tensor/tensor.js'
import { rowOf, toValue } from '../tensor/to-value.js'
import { classify, outcomeOf, type Outcome } from './classification.js'
import type { Task } from './model-config.js'

/** The codec that needs no code: inputs by the artifact's metadata, outputs by the model's task. */
export class MetadataCodec {
  readonly #readers: readonly TensorReader[]
  readonly #needsNoPrototype: boolean
  /** The outputs that an answer shows. */
  readonly #shown: readonly string[]
  /** The outputs of one element a row; not those whose length varies, and happens to be 1. */
  readonly #scalars: ReadonlySet<string>

  /**
   * @param label `model@version`, for messages
   * @param batched whether the model has a batch axis: a value without it is then one row
   * @param outputs the outputs an answer shows; undefined: all
   */
  constructor(
    private readonly label: string,
    private readonly signature: ModelSignature,
    private readonly batched: boolean,
    private readonly task: Task | undefined,
    outputs: readonly string[] | undefined,
  ) {
    this.#needsNoPrototype = signature.inputs.some(({ name }) => name === '__proto__')
    this.#shown = outputs ?? signature.outputs.map(({ name }) => name)
    const scalars = signature.outputs.filter(({ shape }) => shape.length === 2 && shape[1] === 1)
    this.#scalars = new Set(scalars.map(({ name }) => name))
    this.#readers = signature.inputs.map((info) => new TensorReader(info, batched))
  }

  /**
   * Makes feeds of an object with a value for each input.
   * @param borrow whether they may share typed arrays with the value; else they share no memory with it
   * @throws ServingError INVALID_INPUT
   */
  encode(value: unknown, borrow = false): Feeds {
    const { inputs } = this.signature
    if (!isPlainObject(value) || ArrayBuffer.isView(value)) {
      const names = inputs.map(({ name }) => `"${name}"`).join(', ')
      throw this.#invalid(`the input must be an object with ${names}; got ${show(value)}.`)
    }
    const feeds = emptyRecord<Tensor>(this.#needsNoPrototype)
    for (const reader of this.#readers) {
      const { info } = reader
      const given = Object.hasOwn(value, info.name) ? value[info.name] : undefined
      if (given === undefined)
        throw this.#invalid(`input "${info.name}" is missing; it expects ${describe(info)}.`)
      try {
        feeds[info.name] = reader.read(given, borrow)
      } catch (error) {
        if (error instanceof ValueMismatch) throw this.#invalid(error.message)
        throw error
      }
    }
    for (const name in value) if (!Object.hasOwn(feeds, name)) throw this.#invalid(this.unknownInput(name))
    return feeds
  }

  /** What a message says of an input that the model does not have. */
  unknownInput(name: string): string {
    const names = this.signature.inputs.map((info) => info.name)
    const near = name.length > 128 ? undefined : nearest(name, names)
    const hint = near === undefined ? `The inputs are ${names.join(', ')}.` : `Did you mean "${near}"?`
    return `there is no input ${show(name)}. ${hint}`
  }

  /** @throws ServingError INVALID_CODEC when the scores do not fit the task's classes */
  decode(outputs: Feeds, rows: number): Outcome {
    return this.task === undefined
      ? this.#plain(outputs, rows)
      : this.#classification(outputs, rows, this.task)
  }

  /** The outputs themselves: the only one's value, else values by name. */
  #plain(outputs: Feeds, rows: number): Outcome {
    const [only] = this.#shown
    if (this.#shown.length === 1 && only !== undefined) {
      const tensor = outputs[only]
      return { prediction: tensor && this.#value(only, tensor, rows) }
    }
    const values = Object.create(null) as Record<string, unknown>
    for (const name of this.#shown) {
      const tensor = outputs[name]
      if (tensor !== undefined) values[name] = this.#value(name, tensor, rows)
    }
    return { prediction: values }
  }

  /** One row's value has no batch axis, and is a scalar where the model says that each row is one element. */
  #value(name: string, tensor: Tensor, rows: number): unknown {
    const { shape } = tensor
    if (!this.batched || rows !== 1 || shape[0] !== 1) return toValue(tensor)
    return toValue(tensor, this.#scalars.has(name) ? [] : shape.slice(1))
  }

  /** One row's class, confidence and scores; for a batch of rows, lists of them. */
  #classification(outputs: Feeds, rows: number, task: Task): Outcome {
    const scores = outputs[task.output]
    if (scores === undefined) {
      throw new ServingError('INVALID_CODEC', `${this.label}: the run gave no output "${task.output}"`)
    }
    const perRow = scores.data.length / rows
    const numbered = Array.from({ length: perRow === 1 ? 2 : perRow }, (_, i) => `${i}`)
    const classes = task.classes ?? this.signature.classes[task.output] ?? numbered
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
    return new ServingError('INVALID_INPUT', `${this.label}: ${rest}`)
  }
}
