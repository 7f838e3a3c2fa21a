import {
  type Encoded,
  graph,
  int64,
  mapType,
  model,
  node,
  sequenceType,
  tensorType,
  tensorValue,
  value,
} from './writer.js'

export interface ZipMapOptions {
  /** Names of the classes; numbers make int64 labels. */
  readonly classes?: readonly string[] | readonly number[]
  /** Something else that takes the maps. No standard operator may, so such a model does not load. */
  readonly alsoTakenBy?: 'node' | 'subgraph'
  /** Whether the standard operators are imported; where nothing uses them, exporters may leave them out. */
  readonly standardOpset?: boolean
}

/**
 * A linear classifier as scikit-learn's converter writes it: `x` float32 [batch, 4]; `label` string or int64
 * [batch]; `probabilities`, a sequence of maps from class to float, or after a rewriting float32 [batch, classes].
 *
 * The weights favour class i mod 4 by x[i mod 4], so that the class order shows.
 */
export function zipMapModel({
  classes = ['setosa', 'versicolor', 'virginica'],
  alsoTakenBy,
  standardOpset = true,
}: ZipMapOptions = {}): Encoded {
  const names = classes.map(String)
  const isText = classes.every((name) => typeof name === 'string')
  const maps = sequenceType(mapType(isText ? 'string' : 'int64', tensorType('float32', [])))
  const ml = 'ai.onnx.ml'
  return model(
    {
      nodes: [
        node('LinearClassifier', ['x'], ['label', 'scores'], {
          domain: ml,
          attributes: {
            coefficients: { floats: names.flatMap((_, i) => [0, 1, 2, 3].map((j) => (i % 4 === j ? 1 : 0))) },
            intercepts: { floats: names.map((_, i) => -i / 8) },
            multi_class: { int: 1 },
            post_transform: { string: 'SOFTMAX' },
            ...(isText
              ? { classlabels_strings: { strings: names } }
              : { classlabels_ints: { ints: names.map(BigInt) } }),
          },
        }),
        node('ZipMap', ['scores'], ['probabilities'], {
          domain: ml,
          name: 'zip',
          attributes: isText
            ? { classlabels_strings: { strings: names } }
            : { classlabels_int64s: { ints: names.map(BigInt) } },
        }),
        ...consumers(alsoTakenBy, maps),
      ],
      inputs: [tensorValue('x', 'float32', ['batch', 4])],
      outputs: [tensorValue('label', isText ? 'string' : 'int64', ['batch']), value('probabilities', maps)],
      initializers: alsoTakenBy === 'node' ? [int64('first', [], [0])] : [],
    },
    { producer: 'skl2onnx', opsets: { [ml]: 1, ...(standardOpset ? { '': 17 } : {}) } },
  )
}

function consumers(kind: ZipMapOptions['alsoTakenBy'], maps: Encoded): Encoded[] {
  if (kind === undefined) return []
  if (kind === 'node') return [node('SequenceAt', ['probabilities', 'first'], ['first_row'])]
  const branch = graph({
    nodes: [node('Identity', ['probabilities'], ['taken'])],
    inputs: [],
    outputs: [value('taken', maps)],
  })
  const attributes = { then_branch: { graph: branch }, else_branch: { graph: branch } }
  return [node('If', ['condition'], ['chosen'], { attributes })]
}
