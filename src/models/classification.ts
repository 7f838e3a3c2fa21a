import { ServingError } from '../errors.js'
import { fromFloat16 } from '../tensor/float16.js'
import { describe, type Tensor } from '../tensor/tensor.js'

const scoredKey: unique symbol = Symbol.for('mlserving.scored')

/** What a prediction says, before its meta. */
export interface Outcome {
  readonly prediction: unknown
  readonly confidence?: unknown
  readonly scores?: unknown
}

/** A prediction with a confidence, made by {@link scored} or {@link classify}. */
export interface Scored<P> {
  readonly [scoredKey]: P
  readonly prediction: P
  /** From 0 to 1. */
  readonly confidence: number
}

export interface Classification<C extends string> extends Scored<C> {
  /** The probability of each class. */
  readonly scores: Readonly<Record<C, number>>
}

export type Activation = 'none' | 'softmax' | 'sigmoid'

export interface ClassifyOptions {
  /** What turns the scores into probabilities, where the model does not. Default: `'none'`. */
  readonly activation?: Activation
}

/**
 * Gives a prediction its confidence, from 0 to 1, in a model's `decode`.
 * @throws ServingError INVALID_CODEC for a confidence that is no finite number
 */
export function scored<const P>(prediction: P, confidence: number): Scored<P> {
  if (!Number.isFinite(confidence)) {
    throw new ServingError(
      'INVALID_CODEC',
      `scored: the confidence must be a finite number; got ${confidence}.`,
    )
  }
  return { [scoredKey]: prediction, prediction, confidence }
}

/**
 * The most probable class of one row of scores, in a model's `decode`.
 *
 * @param scores `[classes]` or `[1, classes]`; with `'sigmoid'` and two classes also one score, of the second class
 * @param classes names in the order of the scores
 * @throws ServingError INVALID_CODEC when the scores do not fit the classes; INFERENCE_FAILED for scores of NaN
 */
export function classify<const C extends readonly string[]>(
  scores: Tensor | undefined,
  classes: C,
  options: ClassifyOptions = {},
): Classification<C[number]> {
  if (scores === undefined)
    throw new ServingError('INVALID_CODEC', 'classify: the model gives no such output')
  const values = probabilities(scores, options.activation ?? 'none', classes.length)
  if (values.length !== classes.length) {
    throw new ServingError(
      'INVALID_CODEC',
      `classify: ${classes.length} classes need one row of as many scores; got ${describe(scores)}.`,
    )
  }
  if (values.some(Number.isNaN)) {
    throw new ServingError(
      'INFERENCE_FAILED',
      'classify: the model gave scores that are NaN: no class is the most probable.',
    )
  }
  const table: Record<string, number> = Object.create(null) as Record<string, number>
  let best = 0
  values.forEach((value, i) => {
    table[classes[i] ?? ''] = value
    if (value > (values[best] ?? -Infinity)) best = i
  })
  const prediction: C[number] = classes[best] ?? ''
  return { ...scored(prediction, values[best] ?? 0), scores: table as Record<C[number], number> }
}

/** What a decode's answer says: the fields of what {@link scored} made, or the value itself as the prediction. */
export function outcomeOf(answer: unknown): Outcome {
  if (typeof answer !== 'object' || answer === null || !(scoredKey in answer)) return { prediction: answer }
  const { [scoredKey]: _, ...outcome } = answer as Scored<unknown>
  return outcome
}

/** What a pipeline answers that gives on a stage's outcome: {@link outcomeOf} makes the same of it again. */
export function passedOn({ prediction, confidence, scores }: Outcome): unknown {
  return {
    [scoredKey]: prediction,
    prediction,
    ...(confidence !== undefined && { confidence }),
    ...(scores !== undefined && { scores }),
  }
}

function probabilities(scores: Tensor, activation: Activation, classCount: number): number[] {
  if (scores.dtype === 'string' || scores.dtype === 'bool') {
    throw new ServingError('INVALID_CODEC', `classify: scores must be numbers; got ${describe(scores)}.`)
  }
  const raw: readonly (number | bigint)[] = Array.from<number | bigint>(scores.data)
  const values = scores.dtype === 'float16' ? raw.map((bits) => fromFloat16(Number(bits))) : raw.map(Number)
  const mapped =
    activation === 'softmax' ? softmax(values) : activation === 'sigmoid' ? values.map(sigmoid) : values
  // One score is the probability of the second of two classes, as binary models give it.
  const [only] = mapped
  return mapped.length === 1 && classCount === 2 && only !== undefined ? [1 - only, only] : mapped
}

function softmax(values: readonly number[]): number[] {
  // Less the largest, so that exp can't overflow.
  const largest = values.reduce((a, b) => Math.max(a, b), -Infinity)
  const powers = values.map((value) => Math.exp(value - largest))
  const sum = powers.reduce((a, b) => a + b, 0)
  return powers.map((power) => power / sum)
}

function sigmoid(value: number): number {
  return 1 / (1 + Math.exp(-value))
}
