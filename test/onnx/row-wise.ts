/** Models whose rows are independent, in the idioms that exporters write: `x` float32 [rows, ...], one output `y`. */
import { random } from './models.js'
import { rowModel } from './coupled.js'
import {
  type Attribute,
  type Encoded,
  float32,
  graph,
  int64,
  model,
  node,
  tensor,
  tensorValue,
} from './writer.js'

function weights(name: string, ...dims: readonly number[]): Encoded {
  const next = random(name.length + dims.length)
  const count = dims.reduce((product, dim) => product * dim, 1)
  return float32(
    name,
    dims,
    Array.from({ length: count }, () => next() / 2),
  )
}

const perm = (...order: number[]): Record<string, Attribute> => ({ perm: { ints: order } })
const axis = (number: number): Record<string, Attribute> => ({ axis: { int: number } })

/** The input's first dimension and the output's have names that say nothing of each other. */
export function otherNames(input: string, output: string): Encoded {
  return rowModel([node('MatMul', ['x', 'w'], ['y'])], [weights('w', 3, 2)], {
    x: [input, 3],
    y: [output, 2],
  })
}

/**
 * Self-attention over `x` [rows, length, 8] with two heads, as PyTorch exports it: sizes come from Shape and Gather, and
 * are put together by Unsqueeze and Concat; a position is added, a layer normalised, a mean taken over the length.
 */
export function attentionBlock(): Encoded {
  const sizes = [node('Shape', ['x'], ['shape'])]
  for (const [i, name] of ['rows', 'length'].entries()) {
    sizes.push(node('Gather', ['shape', `at${i}`], [`${name}_scalar`], { attributes: axis(0) }))
    sizes.push(node('Unsqueeze', [`${name}_scalar`, 'front'], [name]))
  }
  const heads = ['q', 'k', 'v'].flatMap((name) => [
    node('MatMul', ['placed', `w_${name}`], [`${name}_all`]),
    node('Reshape', [`${name}_all`, 'heads'], [`${name}_split`]),
    node('Transpose', [`${name}_split`], [name], { attributes: perm(0, 2, 1, 3) }),
  ])
  return rowModel(
    [
      ...sizes,
      node('Slice', ['positions', 'zero', 'length', 'second'], ['places']),
      node('Add', ['x', 'places'], ['placed']),
      node('Concat', ['rows', 'length', 'two', 'four'], ['heads'], { attributes: axis(0) }),
      ...heads,
      node('Transpose', ['k'], ['keys'], { attributes: perm(0, 1, 3, 2) }),
      node('MatMul', ['q', 'keys'], ['scores']),
      node('Softmax', ['scores'], ['attention'], { attributes: axis(-1) }),
      node('MatMul', ['attention', 'v'], ['mixed']),
      node('Transpose', ['mixed'], ['turned'], { attributes: perm(0, 2, 1, 3) }),
      node('Concat', ['rows', 'length', 'eight'], ['joined'], { attributes: axis(0) }),
      node('Reshape', ['turned', 'joined'], ['together']),
      node('Add', ['together', 'placed'], ['residual']),
      node('LayerNormalization', ['residual', 'scale', 'bias'], ['normal'], { attributes: axis(-1) }),
      node('ReduceMean', ['normal'], ['pooled'], {
        attributes: { axes: { ints: [1] }, keepdims: { int: 0 } },
      }),
      node('Gemm', ['pooled', 'w_out'], ['y']),
    ],
    [
      int64('at0', [], [0]),
      int64('at1', [], [1]),
      ...['front', 'zero'].map((name) => int64(name, [1], [0])),
      int64('second', [1], [1]),
      ...Object.entries({ two: 2, four: 4, eight: 8 }).map(([name, count]) => int64(name, [1], [count])),
      weights('positions', 1, 64, 8),
      ...['w_q', 'w_k', 'w_v'].map((name) => weights(name, 8, 8)),
      weights('scale', 8),
      weights('bias', 8),
      weights('w_out', 8, 2),
    ],
    { x: ['rows', 'length', 8], y: ['rows', 2] },
  )
}

/** The heads folded into the axis of the rows, which PyTorch's own attention does, and an expanded first token. */
export function foldedHeads(): Encoded {
  return rowModel(
    [
      node('Shape', ['x'], ['shape']),
      node('Slice', ['shape', 'zero', 'one'], ['rows']),
      node('Concat', ['rows', 'one', 'minus'], ['wanted'], { attributes: axis(0) }),
      node('Shape', ['wanted'], ['rank']),
      node('ConstantOfShape', ['rank'], ['ones'], {
        attributes: { value: { tensor: int64('', [1], [1]) } },
      }),
      node('Equal', ['wanted', 'minus'], ['is_open']),
      node('Where', ['is_open', 'ones', 'wanted'], ['expansion']),
      node('Expand', ['token', 'expansion'], ['tokens']),
      node('Concat', ['tokens', 'x'], ['sequence'], { attributes: axis(1) }),
      node('Transpose', ['sequence'], ['time_first'], { attributes: perm(1, 0, 2) }),
      node('Mul', ['rows', 'two'], ['folded']),
      node('Concat', ['three', 'folded', 'four'], ['heads'], { attributes: axis(0) }),
      node('Reshape', ['time_first', 'heads'], ['split']),
      node('Transpose', ['split'], ['q'], { attributes: perm(1, 0, 2) }),
      node('Transpose', ['split'], ['k'], { attributes: perm(1, 2, 0) }),
      node('MatMul', ['q', 'k'], ['scores']),
      node('Softmax', ['scores'], ['attention']),
      node('MatMul', ['attention', 'q'], ['mixed']),
      node('Transpose', ['mixed'], ['turned'], { attributes: perm(1, 0, 2) }),
      node('Concat', ['three', 'rows', 'eight'], ['joined'], { attributes: axis(0) }),
      node('Reshape', ['turned', 'joined'], ['together']),
      node('Gather', ['together', 'last'], ['y'], { attributes: axis(0) }),
    ],
    [
      ...Object.entries({ zero: 0, one: 1, two: 2, three: 3, four: 4, eight: 8, minus: -1 }).map(
        ([name, n]) => int64(name, [1], [n]),
      ),
      int64('last', [], [-1]),
      weights('token', 1, 1, 8),
    ],
    { x: ['rows', 2, 8], y: ['rows', 8] },
  )
}

/** A recurrent layer over the time of each row: `x` [rows, time, 3] is turned, and its last state given. */
export function recurrentOverTime(): Encoded {
  return rowModel(
    [
      node('Transpose', ['x'], ['time_first'], { attributes: perm(1, 0, 2) }),
      node('GRU', ['time_first', 'w', 'r'], ['', 'last'], { attributes: { hidden_size: { int: 2 } } }),
      node('Squeeze', ['last', 'front'], ['y']),
    ],
    [weights('w', 1, 6, 3), weights('r', 1, 6, 2), int64('front', [1], [0])],
    { x: ['rows', 'time', 3], y: ['rows', 2] },
  )
}

/** A scan over the time of each row, with a state for each. */
export function scanOverTime(): Encoded {
  const body = graph({
    nodes: [node('Add', ['sum', 'step'], ['next']), node('Tanh', ['next'], ['out'])],
    inputs: [tensorValue('sum', 'float32', ['rows']), tensorValue('step', 'float32', ['rows'])],
    outputs: [tensorValue('next', 'float32', ['rows']), tensorValue('out', 'float32', ['rows'])],
  })
  return rowModel(
    [
      node('Shape', ['x'], ['shape']),
      node('Slice', ['shape', 'zero', 'one'], ['rows']),
      node('ConstantOfShape', ['rows'], ['zeros']),
      node('Scan', ['zeros', 'x'], ['total', 'y'], {
        attributes: {
          body: { graph: body },
          num_scan_inputs: { int: 1 },
          scan_input_axes: { ints: [1] },
          scan_output_axes: { ints: [1] },
        },
      }),
    ],
    [int64('zero', [1], [0]), int64('one', [1], [1])],
  )
}

/** A slice along the rows from the first to the last, which PyTorch writes for `x[:, 1:]`. */
export function wholeSlice(): Encoded {
  return rowModel(
    [node('Slice', ['x', 'starts', 'ends'], ['y'])],
    [int64('starts', [2], [0, 1]), tensor('ends', 'int64', [2], BigInt64Array.of(2n ** 63n - 1n, 3n))],
    { y: ['rows', 2] },
  )
}

/** Integers with scales that are part of the model. */
export function staticallyQuantised(): Encoded {
  return rowModel(
    [
      node('QuantizeLinear', ['x', 'scale', 'zero'], ['q']),
      node('QLinearMatMul', ['q', 'scale', 'zero', 'w', 'scale', 'zero', 'scale', 'zero'], ['product']),
      node('DequantizeLinear', ['product', 'scale', 'zero'], ['y']),
    ],
    [
      float32('scale', [], [0.05]),
      tensor('zero', 'uint8', [], Uint8Array.of(128)),
      tensor(
        'w',
        'uint8',
        [3, 3],
        Uint8Array.from({ length: 9 }, (_, i) => 100 + 7 * i),
      ),
    ],
  )
}

/** A word's vector from ids: `x` int64 [rows, length], a mean over the length. */
export function embedding(): Encoded {
  return model({
    nodes: [
      node('Gather', ['table', 'x'], ['vectors']),
      node('ReduceMean', ['vectors'], ['y'], { attributes: { axes: { ints: [1] }, keepdims: { int: 0 } } }),
    ],
    inputs: [tensorValue('x', 'int64', ['unk__214', ''])],
    outputs: [tensorValue('y', 'float32', ['unk__215', 4])],
    initializers: [weights('table', 10, 4)],
  })
}

/** A tree of one split: `x` [rows, 2] below 0.5 in its first column is 1, else 2. */
export function treeEnsemble(): Encoded {
  const ints = (...list: number[]): Attribute => ({ ints: list })
  return rowModel(
    [
      node('TreeEnsembleRegressor', ['x'], ['y'], {
        domain: 'ai.onnx.ml',
        attributes: {
          n_targets: { int: 1 },
          nodes_treeids: ints(0, 0, 0),
          nodes_nodeids: ints(0, 1, 2),
          nodes_featureids: ints(0, 0, 0),
          nodes_modes: { strings: ['BRANCH_LT', 'LEAF', 'LEAF'] },
          nodes_values: { floats: [0.5, 0, 0] },
          nodes_truenodeids: ints(1, 0, 0),
          nodes_falsenodeids: ints(2, 0, 0),
          target_treeids: ints(0, 0),
          target_nodeids: ints(1, 2),
          target_ids: ints(0, 0),
          target_weights: { floats: [1, 2] },
        },
      }),
    ],
    [],
    { x: ['', 2], y: ['', 1], opsets: { '': 17, 'ai.onnx.ml': 3 } },
  )
}
