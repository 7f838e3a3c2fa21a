import { type Encoded, float32, int64, model, node, tensorValue } from './writer.js'
import { random, weights } from './random.js'

export interface TextClassifierOptions {
  readonly layers?: number
  /** Tokens of a text. */
  readonly length?: number
  /** Size of a token's vector; a multiple of `heads`. */
  readonly width?: number
  readonly heads?: number
  readonly vocabulary?: number
  readonly classes?: number
  readonly seed?: number
}

/**
 * A text classifier, an encoder with pre-layer normalisation (Xiong et al. 2020, arXiv 2002.04745): `ids` int64
 * [batch, length], `y` float32 [batch, classes]. With the defaults a row is 100 MFLOP.
 */
export function textClassifier({
  layers = 2,
  length = 32,
  width = 256,
  heads = 4,
  vocabulary = 1000,
  classes = 8,
  seed = 1,
}: TextClassifierOptions = {}): Encoded {
  const next = random(seed)
  const size = width / heads
  const nodes: Encoded[] = [node('Gather', ['embedding', 'ids'], ['x0'])]
  const initializers: Encoded[] = [
    weights('embedding', [vocabulary, width], 6, next),
    int64('split', [4], [0, length, heads, size]),
    int64('join', [3], [0, length, width]),
    float32('scale', [], [1 / Math.sqrt(size)]),
    float32('gain', [width], new Float32Array(width).fill(1)),
    float32('bias', [width], new Float32Array(width)),
  ]

  const normalise = (from: string, to: string) =>
    nodes.push(node('LayerNormalization', [from, 'gain', 'bias'], [to]))
  const project = (from: string, to: string, name: string, dims: readonly [number, number]) => {
    initializers.push(weights(name, dims, dims[0] * 3, next))
    nodes.push(node('MatMul', [from, name], [to]))
  }
  const byHead = (from: string, to: string, perm: readonly number[]) =>
    nodes.push(
      node('Reshape', [from, 'split'], [`${from}_split`]),
      node('Transpose', [`${from}_split`], [to], { attributes: { perm: { ints: perm } } }),
    )

  for (let i = 0; i < layers; i++) {
    normalise(`x${i}`, `n${i}`)
    for (const part of ['q', 'k', 'v']) project(`n${i}`, `${part}${i}`, `w${part}${i}`, [width, width])
    byHead(`q${i}`, `qh${i}`, [0, 2, 1, 3])
    byHead(`k${i}`, `kh${i}`, [0, 2, 3, 1])
    byHead(`v${i}`, `vh${i}`, [0, 2, 1, 3])
    nodes.push(
      node('MatMul', [`qh${i}`, `kh${i}`], [`s${i}`]),
      node('Mul', [`s${i}`, 'scale'], [`t${i}`]),
      node('Softmax', [`t${i}`], [`p${i}`], { attributes: { axis: { int: -1 } } }),
      node('MatMul', [`p${i}`, `vh${i}`], [`h${i}`]),
      node('Transpose', [`h${i}`], [`ht${i}`], { attributes: { perm: { ints: [0, 2, 1, 3] } } }),
      node('Reshape', [`ht${i}`, 'join'], [`hj${i}`]),
    )
    project(`hj${i}`, `o${i}`, `wo${i}`, [width, width])
    nodes.push(node('Add', [`x${i}`, `o${i}`], [`r${i}`]))
    normalise(`r${i}`, `m${i}`)
    project(`m${i}`, `f${i}`, `wf${i}`, [width, 4 * width])
    nodes.push(node('Relu', [`f${i}`], [`g${i}`]))
    project(`g${i}`, `d${i}`, `wd${i}`, [4 * width, width])
    nodes.push(node('Add', [`r${i}`, `d${i}`], [`x${i + 1}`]))
  }
  nodes.push(
    node('ReduceMean', [`x${layers}`], ['pooled'], {
      attributes: { axes: { ints: [1] }, keepdims: { int: 0 } },
    }),
  )
  project('pooled', 'y', 'head', [width, classes])
  return model({
    nodes,
    inputs: [tensorValue('ids', 'int64', ['batch', length])],
    outputs: [tensorValue('y', 'float32', ['batch', classes])],
    initializers,
  })
}
