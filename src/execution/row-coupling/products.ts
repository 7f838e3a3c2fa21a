import { hasRows, numberOf, one, type Size, size, unknownSize } from './size.js'
import { broadcast, type Call, Coupling, each, rowAxis, type Rules, shaped, type Value } from './value.js'

/** The dimensions of a matrix product, the last two of each operand, over those before. */
export function matrixProduct(a: readonly Size[], b: readonly Size[]): Value {
  const left = a.length === 1 ? [one, ...a] : a
  const right = b.length === 1 ? [...b, one] : b
  const inner = [left.at(-1), right.at(-2)]
  if (inner.some((dim) => dim !== undefined && hasRows(dim))) throw new Coupling('sums over the rows')
  const dims = broadcast([left.slice(0, -2), right.slice(0, -2)])
  if (a.length > 1) dims.push(left.at(-2) ?? one)
  if (b.length > 1) dims.push(right.at(-1) ?? one)
  return shaped(dims)
}

/** The last two dimensions the other way round. */
function turned(dims: readonly Size[]): Size[] {
  return [...dims.slice(0, -2), dims.at(-1) ?? one, dims.at(-2) ?? one]
}

export function gemm(call: Call): Value {
  const [a, b] = [call.dims(0), call.dims(1)]
  const result = matrixProduct(call.int('transA', 0) ? turned(a) : a, call.int('transB', 0) ? turned(b) : b)
  if (call.inputs[2] === undefined) return result
  return shaped(broadcast([result.dims ?? [], call.dims(2)]))
}

/** Over the second axis and those behind; `channels` is the size of the second after it. */
export function convolved(call: Call, weights: number, channels: Size): Value {
  call.needRowsAt(0, 'convolves over the rows')
  const others = call.inputs.flatMap((_, i) => (i === 0 ? [] : [i]))
  call.needFixed('parameters', ...others)
  if (rowAxis(call.input(weights)) >= 0) throw new Coupling('makes weights of the rows')
  return { dims: call.dims(0).map((dim, i) => (i === 0 ? dim : i === 1 ? channels : unknownSize())) }
}

function pooled(call: Call): Value {
  call.needRowsAt(0, 'pools over the rows')
  const isIndexed = call.node.outputs.filter((name) => name !== '').length > 1
  // An index counts from the first element of the first row.
  if (isIndexed) throw new Coupling('numbers elements through all rows')
  return { dims: call.dims(0).map((dim, i) => (i < 2 ? dim : unknownSize())) }
}

function einsum(call: Call): Value {
  const [left = '', right] = (call.text('equation') ?? '').replaceAll(' ', '').split('->')
  const terms = left.split(',')
  const sizes = new Map<string, Size>()
  if (right === undefined || /[^a-zA-Z,]/.test(left + right))
    throw new Coupling('is an equation that is not understood')
  for (const [i, term] of terms.entries()) {
    for (const [axis, dim] of call.dims(i).entries()) {
      const label = term[axis] ?? ''
      const known = sizes.get(label)
      sizes.set(label, known === undefined ? dim : (broadcast([[known], [dim]])[0] ?? dim))
      if (hasRows(dim) && (!right.includes(label) || term.indexOf(label) !== term.lastIndexOf(label)))
        throw new Coupling('sums over the rows')
    }
  }
  return shaped(right.split('').map((label) => sizes.get(label) ?? one))
}

/** Rules of the operators that multiply and sum: over channels, never over rows. */
export const productRules: Rules = {
  MatMul: (call) => matrixProduct(call.dims(0), call.dims(1)),
  MatMulInteger: (call) => {
    call.needFixedScalar('zero point', 2)
    call.needFixed('zero point', 3)
    return matrixProduct(call.dims(0), call.dims(1))
  },
  QLinearMatMul: (call) => {
    call.needFixedScalar('scale', 1, 2, 6, 7)
    call.needFixed('scale', 4, 5)
    return matrixProduct(call.dims(0), call.dims(3))
  },
  Gemm: gemm,
  Einsum: einsum,
  Conv: (call) => convolved(call, 1, call.dims(1)[0] ?? one),
  ConvInteger: (call) => convolved(call, 1, call.dims(1)[0] ?? one),
  QLinearConv: (call) => convolved(call, 3, call.dims(3)[0] ?? one),
  ConvTranspose: (call) => {
    const perGroup = numberOf(call.dims(1)[1])
    const channels = perGroup === undefined ? unknownSize() : size(perGroup * call.int('group', 1))
    return convolved(call, 1, channels)
  },
  ...each('MaxPool AveragePool LpPool', pooled),
}
