import { hasRows, one, type Size } from './size.js'
import { type Call, Coupling, each, rowAxis, type Rules, type Value } from './value.js'
import { shapingRules } from './shaping.js'

function reduced(call: Call): Value {
  const dims = call.dims(0)
  const rows = rowAxis(call.input(0))
  const given = call.parameter('axes', 1)
  if ((given?.length ?? 0) === 0 && call.int('noop_with_empty_axes', 0) === 1) return { dims }
  const axes = given?.length ? given.map((axis) => call.axis(axis, dims.length)) : dims.map((_, i) => i)
  if (axes.includes(rows)) throw new Coupling('reduces over the rows')
  return { dims: without(dims, axes, call.int('keepdims', 1) === 1) }
}

function without(dims: readonly Size[], axes: readonly number[], keep: boolean): Size[] {
  return dims.flatMap((dim, i) => (axes.includes(i) ? (keep ? [one] : []) : [dim]))
}

/** Normalises over an axis, or before version 13 over all from an axis on. */
function softmax(call: Call): Value {
  const dims = call.dims(0)
  const isOld = call.opset < 13
  const axis = call.axis(call.int('axis', isOld ? 1 : -1), dims.length)
  const rows = rowAxis(call.input(0))
  if (rows >= 0 && (isOld ? rows >= axis : rows === axis)) throw new Coupling('normalises over the rows')
  return { dims }
}

/** Normalises over all axes from one on. */
export function normalisedFrom(call: Call): Value[] {
  const dims = call.dims(0)
  const axis = call.axis(call.int('axis', -1), dims.length)
  const rows = rowAxis(call.input(0))
  if (rows >= axis) throw new Coupling('normalises over the rows')
  call.needFixed('scale', 1, 2)
  const outer = call.inputs.slice(1).find((value) => (value?.dims?.length ?? 0) > dims.length - axis)
  if (outer !== undefined) throw new Coupling('scales each place in the batch on its own')
  const statistics = { dims: dims.map((dim, i) => (i < axis ? dim : one)) }
  return [{ dims }, statistics, statistics]
}

/** Over channels, the second axis, and what lies behind. */
function overChannels(call: Call): Value[] {
  call.needRowsAt(0, 'normalises over the rows')
  call.needFixed('statistics', 1, 2, 3, 4)
  const { dims } = call.input(0)
  return call.node.outputs.map(() => ({ dims }))
}

const reductions =
  'ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceSum ReduceSumSquare'

/** Rules of the operators that make one number of several, or weigh several against each other. */
export const reducingRules: Rules = {
  ...each(reductions, reduced),
  ReduceProd: (call) => {
    const ofSizes = call.input(0).content === undefined ? undefined : shapingRules.ReduceProd
    return ofSizes?.(call) ?? reduced(call)
  },
  ...each('ArgMax ArgMin', (call) => {
    const dims = call.dims(0)
    const axis = call.axis(call.int('axis', 0), dims.length)
    if (axis === rowAxis(call.input(0))) throw new Coupling('compares the rows')
    return { dims: without(dims, [axis], call.int('keepdims', 1) === 1) }
  }),
  ...each('Softmax LogSoftmax Hardmax', softmax),
  LpNormalization: (call) => {
    const dims = call.dims(0)
    if (call.axis(call.int('axis', -1), dims.length) === rowAxis(call.input(0)))
      throw new Coupling('normalises over the rows')
    return { dims }
  },
  ...each('LayerNormalization SimplifiedLayerNormalization RMSNormalization', normalisedFrom),
  ...each('InstanceNormalization GroupNormalization LRN', overChannels),
  MeanVarianceNormalization: (call) => {
    const axes = call.ints('axes') ?? [0, 2, 3]
    const rank = call.dims(0).length
    if (axes.map((axis) => call.axis(axis, rank)).includes(rowAxis(call.input(0))))
      throw new Coupling('normalises over the rows')
    return { dims: call.dims(0) }
  },
  BatchNormalization: (call) => {
    const outputs = call.node.outputs.filter((name) => name !== '').length
    const isTraining = call.int('training_mode', 0) === 1 || outputs > 1
    if (isTraining && call.dims(0).some(hasRows))
      throw new Coupling('normalises over the rows, as in training')
    return overChannels(call)
  },
  ...each('GlobalAveragePool GlobalMaxPool GlobalLpPool', (call) => {
    call.needRowsAt(0, 'pools over the rows')
    return { dims: call.dims(0).map((dim, i) => (i < 2 ? dim : one)) }
  }),
}
