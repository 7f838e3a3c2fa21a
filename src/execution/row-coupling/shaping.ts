import {
  hasRows,
  is,
  numberOf,
  one,
  over,
  product,
  rows,
  same,
  type Size,
  times,
  unknownSize,
  size,
} from './size.js'
import {
  broadcast,
  type Call,
  Coupling,
  dependsOnCount,
  rowAxis,
  type Rules,
  shaped,
  type Value,
} from './value.js'

/** The dimensions that a tensor's content stands for. */
function target(call: Call, i: number): readonly Size[] {
  const { content, dims } = call.input(i)
  if (content !== undefined) return content
  const rank = numberOf(dims?.[0])
  const isFixed = call.inputs.every((input) => input === undefined || rowAxis(input) < 0)
  if (!isFixed || rank === undefined) throw new Coupling('takes a shape that is not known')
  return Array.from({ length: rank }, () => unknownSize())
}

/**
 * The dimensions after a reshape. Elements keep their order, so that each row's stay together as long as what lies
 * before the rows stays as it is.
 * @throws Coupling where a row's elements are no longer a row
 */
function reshaped(dims: readonly Size[], wanted: readonly Size[]): Size[] {
  const total = product(dims)
  const isRest = (entry: Size) => is(entry, -1)
  const others = product(wanted.filter((entry) => !isRest(entry)))
  const result = wanted.map((entry) => {
    if (!isRest(entry)) return entry
    const rest = over(total, others)
    if (rest !== undefined) return rest
    // With one row alone it came out even, or would have failed: so it does with several.
    return hasRows(total) && !hasRows(others) ? times(rows, unknownSize()) : unknownSize()
  })
  const from = dims.findIndex(hasRows)
  const to = result.findIndex(hasRows)
  if (from < 0 && to < 0) return result
  if (to < 0) throw new Coupling('folds the rows away')
  if (from < 0 || !same(product(dims.slice(0, from)), product(result.slice(0, to))))
    throw new Coupling('moves elements between rows')
  return result
}

function transposed(call: Call): Value {
  const dims = call.dims(0)
  const order = call.ints('perm') ?? dims.map((_, i) => dims.length - 1 - i)
  return shaped(order.map((axis) => dims[axis] ?? one))
}

function squeezed(call: Call): Value {
  const dims = call.dims(0)
  const axes = call.parameter('axes', 1)?.map((axis) => call.axis(axis, dims.length))
  const { content } = call.input(0)
  // Without axes, a batch of one row would lose its rows as well.
  if (axes === undefined && dims.some((dim) => numberOf(dim) === undefined))
    throw new Coupling('drops axes that happen to be of size 1')
  const isDropped = (dim: Size, i: number) => axes?.includes(i) ?? is(dim, 1)
  if (dims.some((dim, i) => isDropped(dim, i) && hasRows(dim)))
    throw new Coupling('drops the axis of the rows')
  return { dims: dims.filter((dim, i) => !isDropped(dim, i)), content }
}

function unsqueezed(call: Call): Value {
  const dims = call.dims(0)
  const given = call.parameter('axes', 1) ?? []
  const rank = dims.length + given.length
  const axes = given.map((axis) => call.axis(axis, rank))
  const rest = [...dims]
  const result = Array.from({ length: rank }, (_, i) => (axes.includes(i) ? one : (rest.shift() ?? one)))
  return { dims: result, content: call.input(0).content }
}

/** What is the same everywhere in it, of the dimensions that a shape says. */
function expanded(call: Call): Value {
  return shaped(broadcast([call.dims(0), target(call, 1)]))
}

/** Rules of the operators that compute shapes, and give tensors other ones. They may be told the number of rows. */
export const shapingRules: Rules = {
  Shape: (call) => {
    const dims = call.dims(0)
    const content = dims.slice(call.int('start', 0), call.attribute('end')?.int() ?? dims.length)
    return { dims: [size(content.length)], content }
  },
  Size: (call) => ({ dims: [], content: [product(call.dims(0))] }),
  Reshape: (call) => {
    const { content } = call.input(0)
    if (call.opset < 5) throw new Coupling('is of an old form')
    const wanted = target(call, 1)
    const copies = call.int('allowzero', 0) === 0
    if (content !== undefined && wanted.length <= 1)
      return { dims: wanted.map(() => size(content.length)), content }
    const dims = call.dims(0)
    return shaped(
      reshaped(
        dims,
        wanted.map((entry, i) => (copies && is(entry, 0) ? (dims[i] ?? entry) : entry)),
      ),
    )
  },
  Flatten: (call) => {
    const dims = call.dims(0)
    const axis = call.axis(call.int('axis', 1), dims.length)
    return shaped(reshaped(dims, [product(dims.slice(0, axis)), product(dims.slice(axis))]))
  },
  Transpose: transposed,
  Squeeze: squeezed,
  Unsqueeze: unsqueezed,
  Expand: expanded,
  ConstantOfShape: (call) => {
    const dims = target(call, 0)
    const value = call.attribute('value')?.tensors[0]?.numbers()?.[0] ?? 0
    const count = dims.length <= 1 ? numberOf(product(dims)) : undefined
    const content =
      count !== undefined && count <= 64 ? Array.from({ length: count }, () => size(value)) : undefined
    return { ...shaped(dims), content }
  },
  Tile: (call) => {
    const dims = call.dims(0)
    const repeats = target(call, 1)
    if (dims.some((dim, i) => hasRows(dim) && !is(repeats[i], 1))) throw new Coupling('repeats the rows')
    if (dims.some((dim, i) => !is(dim, 1) && hasRows(repeats[i] ?? one)))
      throw new Coupling('gives each place in the batch a value of its own')
    return shaped(dims.map((dim, i) => times(dim, repeats[i] ?? one)))
  },
  ReduceProd: (call) => {
    const { content } = call.input(0)
    if (content === undefined) throw new Coupling('reduces')
    return { dims: call.int('keepdims', 1) === 0 ? [] : [one], content: [product(content)] }
  },
  Range: (call) => {
    if (call.inputs.some((input) => input !== undefined && dependsOnCount(input)))
      throw new Coupling('numbers the places in the batch')
    return { dims: [unknownSize()] }
  },
}
