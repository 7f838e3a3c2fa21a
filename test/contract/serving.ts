import { join } from 'node:path'
import { createServing, onnx, scored, type Logger } from 'mlserving'
import { z } from 'zod'
import { isServing, type AnyServing } from '../../src/serving.js'
import { writeInto } from '../models/temporary-repository.js'
import { addInt64, identityModel } from '../onnx/models.js'
import { int64, model, node, tensorValue } from '../onnx/writer.js'

export const longName = 'm'.repeat(128)

/** `y` is `x` as [batch, 2], which a row of three numbers is not: fails when it runs. */
function failsToRun() {
  return model({
    nodes: [node('Reshape', ['x', 'pairs'], ['y'])],
    inputs: [tensorValue('x', 'float32', ['batch', 3])],
    outputs: [tensorValue('y', 'float32', ['pairs', 2])],
    initializers: [int64('pairs', [2], [-1, 2])],
  })
}

/** `y` is `instances`, a name that the request's body has a meaning of its own for. */
function collidingName() {
  return model({
    nodes: [node('Identity', ['instances'], ['y'])],
    inputs: [tensorValue('instances', 'float32', ['batch', 3])],
    outputs: [tensorValue('y', 'float32', ['batch', 3])],
  })
}

/**
 * Serves, ready: `identity` (float32 [batch, 3]), `add` (int64 [batch, 3], adds 1, 2, 3), `broken` at run,
 * `collides`, `versions` (1 and 2, of which 2 serves), a model of {@link longName}; and from code `sure`, whose
 * confidence is 0.75, `checked` by a schema, `indecent`, whose decode throws.
 */
export async function startServing(folder: string, logger: Logger): Promise<AnyServing> {
  for (const [path, bytes] of Object.entries({
    'identity/1': identityModel(),
    'add/1': addInt64(),
    'broken/1': failsToRun(),
    'collides/1': collidingName(),
    'versions/1': identityModel(),
    'versions/2': addInt64(),
    [`${longName}/1`]: identityModel(),
  })) {
    writeInto(folder, `${path}/model.onnx`, bytes)
  }
  const source = join(folder, 'identity')
  const serving = createServing({
    repository: folder,
    logger,
    models: {
      sure: onnx({ source, placement: 'inline', decode: () => scored('yes', 0.75) }),
      checked: onnx({ source, placement: 'inline', input: z.object({ x: z.array(z.number().max(9)) }) }),
      indecent: onnx({
        source,
        placement: 'inline',
        decode: () => {
          throw new Error('the password is swordfish')
        },
      }),
    },
  })
  await serving.ready()
  return asAny(serving)
}

/** A serving as the doors see it, whatever the types of its models. */
export function asAny(serving: object): AnyServing {
  if (!isServing(serving)) throw new TypeError('not a serving')
  return serving
}

/** A serving that answers every prediction with what `predict` does. */
export function withPredict(serving: AnyServing, predict: AnyServing['predict']): AnyServing {
  return Object.create(serving, { predict: { value: predict } }) as AnyServing
}

/** Holds up what waits for `opened` until the test calls `open`. */
export class Gate {
  open: () => void = () => {}
  readonly opened = new Promise<void>((resolve) => (this.open = resolve))
}
