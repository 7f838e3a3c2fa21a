import { type Encoded, model, node, tensorValue } from './writer.js'
import { random, weights } from './random.js'

/** Channels in and out of each 3x3 convolution, and its stride. */
const layers = [
  { from: 3, to: 32, stride: 1 },
  { from: 32, to: 64, stride: 2 },
  { from: 64, to: 64, stride: 1 },
  { from: 64, to: 64, stride: 1 },
  { from: 64, to: 128, stride: 2 },
] as const

/**
 * A convolutional network on whole images: `x` float32 [batch, 3, 64, 64], `y` float32 [batch, 10]. A row is
 * 230 MFLOP.
 */
export function imageClassifier(seed = 1): Encoded {
  const next = random(seed)
  return model({
    nodes: [
      ...layers.flatMap(({ stride }, i) => [
        node('Conv', [i === 0 ? 'x' : `a${i - 1}`, `w${i}`], [`c${i}`], {
          attributes: {
            kernel_shape: { ints: [3, 3] },
            pads: { ints: [1, 1, 1, 1] },
            strides: { ints: [stride, stride] },
          },
        }),
        node('Relu', [`c${i}`], [`a${i}`]),
      ]),
      node('GlobalAveragePool', [`a${layers.length - 1}`], ['pooled']),
      node('Flatten', ['pooled'], ['flat']),
      node('Gemm', ['flat', 'w', 'b'], ['y']),
    ],
    inputs: [tensorValue('x', 'float32', ['batch', 3, 64, 64])],
    outputs: [tensorValue('y', 'float32', ['batch', 10])],
    initializers: [
      ...layers.map(({ from, to }, i) => weights(`w${i}`, [to, from, 3, 3], from * 9, next)),
      weights('w', [128, 10], 128, next),
      weights('b', [10], 10, next),
    ],
  })
}
