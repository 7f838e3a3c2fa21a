import { generatedElements, generatedRow } from '../batching/generated-rows.js'
import { messageOf, ServingError } from '../errors.js'
import type { Tensor, TensorInfo } from '../tensor/tensor.js'
import type { BatchedModel } from './loaded-model.js'

/** What a version is warmed up with: inputs as a caller would send them, or `true`, rows that are made up. */
export type WarmUp = true | readonly unknown[]

/** Made-up rows that are run: the first run of a session allocates, the second is as those after it. */
const generatedRows = 2

/** Lengths of axes that may vary: the first that the model takes. */
const lengths = [8, 64] as const

/** The largest input that is made up at a second length, in elements. */
const mostElements = 2 ** 21

/**
 * Runs samples through a version's encode, session and decode, each in every instance, one sample after another.
 * @param label `model@version`, for messages
 * @param signal handed to the user's code
 * @throws ServingError INVALID_MODEL that names the sample which failed, and why
 */
export async function warmUp(
  label: string,
  model: BatchedModel,
  samples: WarmUp,
  signal: AbortSignal,
): Promise<void> {
  if (samples === true) return warmUpGenerated(label, model, signal)
  for (const [i, sample] of samples.entries()) {
    try {
      await inEach(model, () => answer(model, sample, signal))
    } catch (error) {
      throw failed(label, `sample ${i} of warmUp`, error)
    }
  }
}

async function warmUpGenerated(label: string, model: BatchedModel, signal: AbortSignal): Promise<void> {
  const inputs = model.session?.signature.inputs
  if (inputs === undefined) {
    throw new ServingError(
      'INVALID_MODEL',
      `${label}: warmUp: true needs the metadata of an artifact; give a list of sample inputs.`,
    )
  }
  const [first, ...others] = lengths
  const tried = [first, ...others.filter((length) => generatedElements(inputs, length) <= mostElements)]
  let failure: unknown
  for (const length of tried) {
    try {
      for (let seed = 0; seed < generatedRows; seed++)
        await inEach(model, () => answerGenerated(model, inputs, seed, length, signal))
      return
    } catch (error) {
      failure = error
    }
  }
  throw failed(label, 'a row that warmUp made up from the metadata', failure)
}

/** Runs go to the instance that has the fewest: as many at once as there are instances reach each of them. */
async function inEach({ session }: BatchedModel, run: () => Promise<void>): Promise<void> {
  const runs = await Promise.allSettled(Array.from({ length: session?.instances ?? 1 }, run))
  const failure = runs.find((each) => each.status === 'rejected')
  if (failure !== undefined) throw failure.reason
}

async function answer(
  { codec, executor }: BatchedModel,
  sample: unknown,
  signal: AbortSignal,
): Promise<void> {
  const encoded = await codec.encode(sample, signal)
  const { result } = await executor.run(codec.own(encoded), { signal })
  await codec.decode(result, encoded, false)
}

/** Code of the user's takes inputs that nobody can make up: where there is some, the session alone is warmed up. */
async function answerGenerated(
  model: BatchedModel,
  inputs: readonly TensorInfo[],
  seed: number,
  length: number,
  signal: AbortSignal,
): Promise<void> {
  const feeds = generatedInput(inputs, seed, length)
  if (model.codec.takesTensors) return answer(model, feeds, signal)
  await model.executor.run(feeds, { signal })
}

/** One row; of a model without a batch axis all that it takes, which is made up as if it were a row. */
function generatedInput(
  inputs: readonly TensorInfo[],
  seed: number,
  length: number,
): Readonly<Record<string, Tensor>> {
  if (inputs.every(({ shape }) => typeof shape[0] === 'string')) return generatedRow(inputs, seed, length)
  const asRows = inputs.map((info) => ({ ...info, shape: ['row', ...info.shape] }))
  return Object.fromEntries(
    Object.entries(generatedRow(asRows, seed, length)).map(([name, tensor]) => [
      name,
      { ...tensor, shape: tensor.shape.slice(1) },
    ]),
  )
}

function failed(label: string, which: string, error: unknown): ServingError {
  return new ServingError('INVALID_MODEL', `${label}: ${which} failed: ${messageOf(error)}`, { cause: error })
}
