import { random, weights } from './random.js'
import { type Encoded, float32, int64, model, node, tensorValue } from './writer.js'

export interface TransformerOptions {
  readonly layers?: number
  /** Tokens of a row. */
  readonly length?: number
  /** Numbers of a token's embedding; a multiple of `heads`. */
  readonly width?: number
  readonly heads?: number
  readonly seed?: number
}

/**
 * The encoder of a transformer (Vaswani et al., 2017, with the normalisation before each block) over embedded tokens:
 * `x` float32 [batch, length, width], `y` float32 [batch, 10] of the tokens' mean. Rows do not affect each other. With
 * the defaults a row is 100 MFLOP: some 2 ms of one core.
 */
export function transformer({
  layers = 2,
  length = 32,
  width = 256,
  heads = 4,
  seed = 1,
}: TransformerOptions = {}): Encoded {
  const next = random(seed)
  const encoder = Array.from({ length: layers }, (_, i) => layer(i, width, next))
  return model({
    nodes: [
      ...encoder.flatMap(({ nodes }) => nodes),
      node('ReduceMean', [stateAfter(layers)], ['pooled'], {
        attributes: { axes: { ints: [1] }, keepdims: { int: 0 } },
      }),
      node('Gemm', ['pooled', 'w', 'b'], ['y']),
    ],
    inputs: [tensorValue('x', 'float32', ['batch', length, width])],
    outputs: [tensorValue('y', 'float32', ['batch', 10])],
    initializers: [
      // 0 keeps a dimension as it is.
      int64('apart', [4], [0, 0, heads, width / heads]),
      int64('joined', [3], [0, 0, width]),
      float32('scale', [], [1 / Math.sqrt(width / heads)]),
      ...encoder.flatMap(({ initializers }) => initializers),
      weights('w', [width, 10], width, next),
      weights('b', [10], 10, next),
    ],
  })
}

/** The tokens before layer `i`. */
function stateAfter(i: number): string {
  return i === 0 ? 'x' : `x${i}`
}

/** Self-attention, then two dense layers, each added to what it was given. */
function layer(i: number, width: number, next: () => number) {
  const named = (name: string) => `${name}_${i}`
  const state = stateAfter(i)
  const dense = (from: string, name: string) => node('MatMul', [from, named(`w_${name}`)], [named(name)])
  const add = (a: string, b: string, sum: string) => node('Add', [a, b], [sum])
  const apart = (name: string, perm: readonly number[]) => [
    node('Reshape', [named(name), 'apart'], [named(`${name}_apart`)]),
    node('Transpose', [named(`${name}_apart`)], [named(`${name}_heads`)], {
      attributes: { perm: { ints: perm } },
    }),
  ]
  const normalised = (from: string, name: string) =>
    node('LayerNormalization', [from, named(`${name}_gain`), named(`${name}_bias`)], [named(name)])
  const matrix = (name: string, from: number, to: number) =>
    weights(named(`w_${name}`), [from, to], 4 * from, next)
  const norm = (name: string) => [
    float32(named(`${name}_gain`), [width], new Float32Array(width).fill(1)),
    float32(named(`${name}_bias`), [width], new Float32Array(width)),
  ]
  return {
    nodes: [
      normalised(state, 'norm'),
      ...['q', 'k', 'v'].map((name) => dense(named('norm'), name)),
      ...apart('q', [0, 2, 1, 3]),
      ...apart('k', [0, 2, 3, 1]),
      ...apart('v', [0, 2, 1, 3]),
      node('MatMul', [named('q_heads'), named('k_heads')], [named('likeness')]),
      node('Mul', [named('likeness'), 'scale'], [named('scaled')]),
      node('Softmax', [named('scaled')], [named('attention')], { attributes: { axis: { int: -1 } } }),
      node('MatMul', [named('attention'), named('v_heads')], [named('seen_heads')]),
      node('Transpose', [named('seen_heads')], [named('seen_apart')], {
        attributes: { perm: { ints: [0, 2, 1, 3] } },
      }),
      node('Reshape', [named('seen_apart'), 'joined'], [named('seen')]),
      dense(named('seen'), 'out'),
      add(state, named('out'), named('attended')),
      normalised(named('attended'), 'norm2'),
      dense(named('norm2'), 'up'),
      node('Relu', [named('up')], [named('active')]),
      dense(named('active'), 'down'),
      add(named('attended'), named('down'), stateAfter(i + 1)),
    ],
    initializers: [
      ...norm('norm'),
      ...norm('norm2'),
      ...['q', 'k', 'v', 'out'].map((name) => matrix(name, width, width)),
      matrix('up', width, 4 * width),
      matrix('down', 4 * width, width),
    ],
  }
}
