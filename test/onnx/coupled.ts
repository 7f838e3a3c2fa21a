/**
 * Models whose rows affect each other, each in another way: `x` float32 [rows, 3] unless said, and one output `y` that
 * has an entry for each row.
 */
import {
  type Attribute,
  type Dim,
  type Encoded,
  float32,
  type GraphContent,
  graph,
  int64,
  model,
  type ModelOptions,
  node,
  tensor,
  tensorValue,
} from './writer.js'

/** A model of one input and one output, both float32 [rows, ...] unless said. */
export function rowModel(
  nodes: readonly Encoded[],
  initializers: readonly Encoded[] = [],
  options: ModelOptions & { readonly x?: readonly Dim[]; readonly y?: readonly Dim[] } = {},
): Encoded {
  const { x = ['rows', 3], y = x, ...rest } = options
  const content: GraphContent = {
    nodes,
    initializers,
    inputs: [tensorValue('x', 'float32', x)],
    outputs: [tensorValue('y', 'float32', y)],
  }
  return model(content, rest)
}

const axes = (...list: number[]): Record<string, Attribute> => ({ axes: { ints: list } })
const axis = (number: number): Record<string, Attribute> => ({ axis: { int: number } })
const square = [0.5, -0.25, 1, 0.75, 0.1, -0.6, -1, 0.3, 0.2]
const quantised = tensor(
  'w',
  'int8',
  [3, 3],
  Int8Array.from(square, (value) => value * 100),
)

/** The integer product of what was quantised by the range of all rows. */
export function dynamicallyQuantised(): Encoded {
  return rowModel(
    [
      node('DynamicQuantizeLinear', ['x'], ['q', 'scale', 'zero']),
      node('MatMulInteger', ['q', 'w', 'zero'], ['product']),
      node('Cast', ['product'], ['floats'], { attributes: { to: { int: 1 } } }),
      node('Mul', ['floats', 'scale'], ['y'], { name: 'rescale' }),
    ],
    [quantised],
  )
}

/** The same, fused by onnxruntime. */
export function dynamicallyQuantisedFused(): Encoded {
  return rowModel(
    [node('DynamicQuantizeMatMul', ['x', 'w', 'scale'], ['y'], { domain: 'com.microsoft' })],
    [quantised, float32('scale', [1], [0.01])],
    { opsets: { '': 17, 'com.microsoft': 1 } },
  )
}

export function meanOverRows(): Encoded {
  return rowModel([
    node('ReduceMean', ['x'], ['mean'], { attributes: axes(0), name: 'centre' }),
    node('Sub', ['x', 'mean'], ['y']),
  ])
}

/** Along an axis that only looks like another one. */
export function meanAfterTranspose(): Encoded {
  return rowModel([
    node('Transpose', ['x'], ['turned'], { attributes: { perm: { ints: [1, 0] } } }),
    node('ReduceMean', ['turned'], ['mean'], { attributes: { ...axes(-1), keepdims: { int: 0 } } }),
    node('Sub', ['x', 'mean'], ['y']),
  ])
}

/** Over all axes, as a reduction without axes does. */
export function maxOfAll(): Encoded {
  return rowModel([node('ReduceMax', ['x'], ['most']), node('Div', ['x', 'most'], ['y'])])
}

/** A recurrent layer whose time is the axis of the rows. */
export function recurrentOverRows(operator: 'GRU' | 'LSTM' | 'RNN' = 'GRU'): Encoded {
  const gates = { GRU: 3, LSTM: 4, RNN: 1 }[operator]
  const weights = (name: string, width: number) =>
    float32(
      name,
      [1, gates * 2, width],
      Array.from({ length: gates * 2 * width }, (_, i) => Math.sin(i + 1) / 2),
    )
  return rowModel(
    [
      node('Unsqueeze', ['x', 'one'], ['steps']),
      node(operator, ['steps', 'w', 'r'], ['all'], { attributes: { hidden_size: { int: 2 } }, name: 'cell' }),
      node('Squeeze', ['all', 'inner'], ['y']),
    ],
    [weights('w', 3), weights('r', 2), int64('one', [1], [1]), int64('inner', [2], [1, 2])],
    { y: ['rows', 2] },
  )
}

/** `mean` of `x` over its rows, in a graph of its own; `x` comes from outside. */
const hidden = (
  inputs: readonly Encoded[] = [],
  more: readonly Encoded[] = [],
  outputs: readonly Encoded[] = [],
) =>
  graph({
    nodes: [...more, node('ReduceMean', ['x'], ['mean'], { attributes: axes(0), name: 'inside' })],
    inputs,
    outputs: [...outputs, tensorValue('mean', 'float32', [1, 3])],
  })

export function meanInsideIf(): Encoded {
  const plain = graph({
    nodes: [node('Identity', ['zeros'], ['nothing'])],
    inputs: [],
    outputs: [tensorValue('nothing', 'float32', [1, 3])],
  })
  return rowModel(
    [
      node('If', ['flag'], ['mean_or_not'], {
        attributes: { then_branch: { graph: hidden() }, else_branch: { graph: plain } },
      }),
      node('Sub', ['x', 'mean_or_not'], ['y']),
    ],
    [tensor('flag', 'bool', [], Uint8Array.of(1)), float32('zeros', [1, 3], [0, 0, 0])],
  )
}

export function meanInsideLoop(): Encoded {
  const body = hidden(
    [tensorValue('i', 'int64', []), tensorValue('go', 'bool', []), tensorValue('before', 'float32', [1, 3])],
    [node('Identity', ['go'], ['again'])],
    [tensorValue('again', 'bool', [])],
  )
  return rowModel(
    [
      node('Loop', ['turns', '', 'zeros'], ['mean'], { attributes: { body: { graph: body } } }),
      node('Sub', ['x', 'mean'], ['y']),
    ],
    [int64('turns', [], [2]), float32('zeros', [1, 3], [0, 0, 0])],
  )
}

/** A running sum of the rows: a Scan along the first axis. */
export function scanOverRows(): Encoded {
  const body = graph({
    nodes: [node('Add', ['sum', 'row'], ['next']), node('Identity', ['next'], ['out'])],
    inputs: [tensorValue('sum', 'float32', [3]), tensorValue('row', 'float32', [3])],
    outputs: [tensorValue('next', 'float32', [3]), tensorValue('out', 'float32', [3])],
  })
  return rowModel(
    [
      node('Scan', ['zeros', 'x'], ['total', 'y'], {
        attributes: { body: { graph: body }, num_scan_inputs: { int: 1 } },
      }),
    ],
    [float32('zeros', [3], [0, 0, 0])],
  )
}

export function softmaxOverRows(): Encoded {
  return rowModel([node('Softmax', ['x'], ['y'], { attributes: axis(0) })])
}

export function sumOfRowsBefore(): Encoded {
  return rowModel([node('CumSum', ['x', 'first'], ['y'])], [int64('first', [], [0])])
}

/** Normalised by the batch's own mean and variance. */
export function normalisedAsInTraining(): Encoded {
  return rowModel(
    [
      node('BatchNormalization', ['x', 'scale', 'bias', 'mean', 'variance'], ['y', 'm', 'v'], {
        attributes: { training_mode: { int: 1 } },
      }),
    ],
    ['scale', 'bias', 'mean', 'variance'].map((name) => float32(name, [3], [1, 1, 1])),
  )
}

/** Each row beside every other. */
export function similarities(): Encoded {
  return rowModel(
    [
      node('Transpose', ['x'], ['turned']),
      node('MatMul', ['x', 'turned'], ['pairs']),
      node('MatMul', ['pairs', 'x'], ['y']),
    ],
    [],
  )
}

/** The rows sorted by their numbers. */
export function sortedRows(): Encoded {
  return rowModel(
    [
      node('Shape', ['x'], ['shape']),
      node('Gather', ['shape', 'first'], ['count']),
      node('TopK', ['x', 'count'], ['y', 'places'], { attributes: axis(0) }),
    ],
    [int64('first', [1], [0])],
  )
}

/** One text of all rows' numbers. */
export function foldedRows(): Encoded {
  return rowModel(
    [
      node('Reshape', ['x', 'flat'], ['all']),
      node('Softmax', ['all'], ['weights'], { attributes: axis(-1) }),
      node('Reshape', ['weights', 'table'], ['y']),
    ],
    [int64('flat', [2], [1, -1]), int64('table', [2], [-1, 3])],
  )
}

/** Divided by how many rows there are. */
export function dividedByCount(): Encoded {
  return rowModel(
    [
      node('Shape', ['x'], ['shape']),
      node('Gather', ['shape', 'first'], ['count']),
      node('Cast', ['count'], ['float'], { attributes: { to: { int: 1 } } }),
      node('Div', ['x', 'float'], ['y']),
    ],
    [int64('first', [], [0])],
  )
}

/** The differences to the row that comes first. */
export function besideFirstRow(): Encoded {
  return rowModel(
    [node('Gather', ['x', 'zero'], ['row'], { attributes: axis(0) }), node('Sub', ['x', 'row'], ['y'])],
    [int64('zero', [1], [0])],
  )
}
