import { hasRows, is, numberOf, one, same, size, type Size, unknownSize } from './size.js'
import {
  type Call,
  Coupling,
  dependsOnCount,
  each,
  isFixed,
  rowAxis,
  type Rules,
  shaped,
  type Value,
} from './value.js'

/** The axis of an operator that mixes along it. @throws Coupling where the rows lie along it */
function mixingAxis(call: Call, byDefault: number, what: string, i = 0): number {
  const dims = call.dims(i)
  const axis = call.axis(call.int('axis', byDefault), dims.length)
  if (axis === rowAxis(call.input(i))) throw new Coupling(what)
  return axis
}

function replaced(dims: readonly Size[], axis: number, ...by: readonly Size[]): Size[] {
  return [...dims.slice(0, axis), ...by, ...dims.slice(axis + 1)]
}

function gathered(call: Call): Value {
  const [data, indices] = [call.input(0), call.input(1)]
  if (dependsOnCount(indices)) throw new Coupling('selects by the number of rows')
  const axis = mixingAxis(call, 0, 'selects among rows')
  const isAtStart = axis === call.dims(0).length - 1 && call.numbers(1)?.every((index) => index >= 0)
  if (data.padding !== undefined && isAtStart !== true)
    throw new Coupling('takes what is filled up to the longest row')
  const rowsOf = [data, indices].filter((value) => rowAxis(value) >= 0)
  if (rowsOf.length > 1) throw new Coupling('selects from each row by every row')
  const picked =
    call.dims(0).length > 1 ? undefined : data.content && call.numbers(1)?.map((at) => data.content?.at(at))
  const content = picked?.every((entry) => entry !== undefined) === true ? picked : undefined
  return { ...shaped(replaced(call.dims(0), axis, ...call.dims(1))), content }
}

function concatenated(call: Call): Value {
  const shapes = call.inputs.map((_, i) => call.dims(i))
  const [first = []] = shapes
  const axis = call.axis(call.int('axis', 1), first.length)
  const along = call.inputs.find((value) => value !== undefined && rowAxis(value) === axis)
  if (along !== undefined) throw new Coupling('joins tensors along the rows')
  const axes = new Set(call.inputs.map((value) => (value === undefined ? -1 : rowAxis(value))))
  if (axes.size > 1) throw new Coupling('joins a row with what belongs to its place in the batch')
  const contents = call.inputs.flatMap((value) => (value?.content === undefined ? [] : [value.content]))
  const content = contents.length === shapes.length && first.length === 1 ? contents.flat() : undefined
  const total = shapes.reduce((sum, dims) => sum + (numberOf(dims[axis]) ?? NaN), 0)
  return { dims: replaced(first, axis, Number.isNaN(total) ? unknownSize() : size(total)), content }
}

/** More than any batch has rows: how exporters say "to the end" (PyTorch's by 2^63 - 1, TensorFlow's by 10^9). */
const toTheEnd = 1_000_000

function sliced(call: Call): Value {
  const value = call.input(0)
  const dims = call.dims(0)
  const from = bounds(call, 'starts', 1)
  const to = bounds(call, 'ends', 2)
  const axes = call.ints('axes') ?? (call.inputs[3] === undefined ? [...from.keys()] : call.numbers(3))
  const steps = call.inputs[4] === undefined ? [] : call.numbers(4)
  if (axes === undefined || steps === undefined) throw new Coupling('cuts along an axis that is not known')
  const result = [...dims]
  let content = dims.length === 1 ? value.content : undefined
  for (const [i, place] of axes.entries()) {
    const axis = call.axis(place, dims.length)
    const [dim, start, end, step] = [dims[axis] ?? one, from[i], to[i], steps[i] ?? 1]
    const isWhole =
      is(start, 0) && step === 1 && end !== undefined && (same(end, dim) || (numberOf(end) ?? 0) >= toTheEnd)
    if (isWhole) continue
    if (hasRows(dim)) throw new Coupling('selects among rows')
    if ([start, end].some((bound) => bound !== undefined && hasRows(bound)))
      throw new Coupling('cuts by the number of rows')
    const [first, last] = [numberOf(start), numberOf(end)]
    const isKnown = first !== undefined && last !== undefined && step === 1
    content = isKnown ? content?.slice(first, last) : undefined
    result[axis] = isKnown ? lengthOf(dim, first, last) : unknownSize()
  }
  return { dims: result, content }
}

/** Where a slice begins or ends along each of its axes, as far as that is known. */
function bounds(call: Call, name: string, i: number): readonly (Size | undefined)[] {
  const given = call.ints(name)
  if (given !== undefined) return given.map(size)
  const { content, dims } = call.input(i)
  const count = numberOf(dims?.[0])
  if (content === undefined && count === undefined) throw new Coupling('cuts along an axis that is not known')
  return content ?? Array.from({ length: count ?? 0 }, () => undefined)
}

function lengthOf(dim: Size, start: number, end: number): Size {
  const whole = numberOf(dim)
  if (whole === undefined) return unknownSize()
  const place = (at: number) => Math.min(whole, Math.max(0, at < 0 ? at + whole : at))
  return size(Math.max(0, place(end) - place(start)))
}

function split(call: Call): Value[] {
  const dims = call.dims(0)
  const axis = mixingAxis(call, 0, 'splits the rows')
  const sizes = call.ints('split') ?? call.numbers(1)
  const { outputs } = call.node
  const whole = numberOf(dims[axis])
  const even = whole !== undefined && call.inputs[1] === undefined && whole % outputs.length === 0
  return outputs.map((_, i) => {
    const length = sizes?.[i] ?? (even ? whole / outputs.length : undefined)
    return { dims: replaced(dims, axis, length === undefined ? unknownSize() : size(length)) }
  })
}

function padded(call: Call): Value {
  const dims = call.dims(0)
  call.needFixed('padding', 1, 2, 3)
  const pads = call.parameter('pads', 1)
  const axes = (call.inputs[3] === undefined ? dims.map((_, i) => i) : call.numbers(3)) ?? []
  const rows = rowAxis(call.input(0))
  const at = axes.map((axis) => call.axis(axis, dims.length)).indexOf(rows)
  if (rows >= 0 && (pads === undefined || (at >= 0 && (pads[at] !== 0 || pads[at + axes.length] !== 0))))
    throw new Coupling('pads the rows')
  return { dims: dims.map((dim, i) => (i === rows ? dim : unknownSize())) }
}

/** Several tensors of rows, of the same form but along the axis that is selected on. */
function aligned(call: Call, ...inputs: readonly number[]): void {
  const axes = inputs.map((i) => rowAxis(call.input(i)))
  if (new Set(axes).size > 1) throw new Coupling('selects by the place in the batch')
}

/** Rules of the operators that select, join and cut. */
export const selectingRules: Rules = {
  Gather: gathered,
  GatherElements: (call) => {
    mixingAxis(call, 0, 'selects among rows')
    aligned(call, 0, 1)
    return { dims: call.dims(1) }
  },
  GatherND: (call) => {
    const [data, indices] = [call.dims(0), call.dims(1)]
    const batch = call.int('batch_dims', 0)
    const depth = numberOf(indices.at(-1))
    const [from, by] = [rowAxis(call.input(0)), rowAxis(call.input(1))]
    const isOwn = by < 0 || (by >= batch && by < indices.length - 1)
    const isAligned = from < 0 ? isOwn : from === by && from < batch
    if (!isAligned || depth === undefined) throw new Coupling('selects among rows')
    return shaped([...indices.slice(0, -1), ...data.slice(batch + depth)])
  },
  ScatterElements: (call) => {
    mixingAxis(call, 0, 'writes into rows')
    aligned(call, 0, 1, 2)
    return { dims: call.dims(0) }
  },
  Concat: concatenated,
  Slice: sliced,
  Split: split,
  Pad: padded,
  OneHot: (call) => {
    call.needFixed('depth', 1, 2)
    const dims = call.dims(0)
    const axis = call.axis(call.int('axis', -1), dims.length + 1)
    const depth = call.numbers(1)?.[0]
    const added = depth === undefined ? unknownSize() : size(depth)
    return { dims: [...dims.slice(0, axis), added, ...dims.slice(axis)] }
  },
  TopK: (call) => {
    call.needFixed('k', 1)
    const axis = mixingAxis(call, -1, 'sorts the rows')
    const dims = replaced(call.dims(0), axis, unknownSize())
    return [{ dims }, { dims }]
  },
  Trilu: (call) => {
    const dims = call.dims(0)
    call.needFixed('diagonal', 1)
    if (rowAxis(call.input(0)) >= dims.length - 2)
      throw new Coupling('cuts each row at its place in the batch')
    return { dims }
  },
  CumSum: (call) => {
    const dims = call.dims(0)
    const axis = call.numbers(1)?.[0]
    if (axis === undefined) throw new Coupling('sums along an axis that is not known')
    if (call.axis(axis, dims.length) === rowAxis(call.input(0)))
      throw new Coupling('sums over the rows before')
    return { dims }
  },
  EyeLike: (call) => {
    if (!isFixed(call.input(0))) throw new Coupling('gives each place in the batch a value of its own')
    return { dims: call.dims(0) }
  },
  TfIdfVectorizer: (call) => {
    const dims = call.dims(0)
    const { padding } = call.input(0)
    // One dimension is one text of several words.
    if (dims.length !== 2 || rowAxis(call.input(0)) > 0) throw new Coupling('counts over the rows')
    if (padding !== undefined && call.attribute('pool_strings')?.strings().includes(padding) !== false)
      throw new Coupling('counts what rows are padded with to the longest of them')
    return { dims: [dims[0] ?? one, unknownSize()] }
  },
  ...each('DepthToSpace SpaceToDepth', (call) => {
    call.needRowsAt(0, 'mixes along the rows')
    return { dims: call.dims(0).map((dim, i) => (i === 0 ? dim : unknownSize())) }
  }),
  ...each('Resize Upsample', (call) => {
    const dims = call.dims(0)
    const axis = rowAxis(call.input(0))
    if (call.attribute('axes') !== undefined) throw new Coupling('resizes along axes of its own choice')
    const isOld = call.opset < 11
    const scales = call.attribute('scales')?.floats() ?? call.numbers(isOld ? 1 : 2)
    const sizes = call.inputs[3]?.content
    const dim = dims[axis]
    const keeps =
      scales !== undefined && scales.length > 0
        ? scales[axis] === 1
        : sizes?.[axis] && dim && same(sizes[axis], dim)
    if (axis >= 0 && keeps !== true) throw new Coupling('resizes along the rows')
    call.needFixed('region', 1)
    return { dims: dims.map((entry, i) => (i === axis ? entry : unknownSize())) }
  }),
}
