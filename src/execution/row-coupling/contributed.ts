import { elementwise } from './elementwise.js'
import { convolved, gemm, matrixProduct } from './products.js'
import { normalisedFrom } from './reducing.js'
import { one, rows, same, size, type Size, unknownSize } from './size.js'
import { broadcast, type Call, Coupling, each, rowAxis, type Rules, shaped, type Value } from './value.js'

function fusedMatMul(call: Call): Value {
  if (call.int('transBatchA', 0) || call.int('transBatchB', 0))
    throw new Coupling('turns the axes of its operands')
  const turn = (dims: readonly Size[], flag: string): readonly Size[] =>
    call.int(flag, 0) && dims.length > 1
      ? [...dims.slice(0, -2), dims.at(-1) ?? one, dims.at(-2) ?? one]
      : dims
  return matrixProduct(turn(call.dims(0), 'transA'), turn(call.dims(1), 'transB'))
}

/** Of [rows, sequence, features]: each of these inputs has rows of its own first, or is the same for all. */
function attention(call: Call, rowInputs: readonly number[], fixed: readonly number[]): Value {
  for (const i of rowInputs) {
    const value = call.inputs[i]
    if (value === undefined) continue
    const [first] = value.dims ?? []
    if (first === undefined || !same(first, rows)) throw new Coupling('attends across rows')
  }
  call.needFixed('weights', ...fixed)
  const known = new Set([0, ...rowInputs, ...fixed])
  if (call.inputs.some((value, i) => value !== undefined && !known.has(i)))
    throw new Coupling('has an input whose rows are not followed')
  return { dims: [call.dims(0)[0] ?? one, call.dims(0)[1] ?? one, unknownSize()] }
}

function skipNormalised(call: Call): Value[] {
  const dims = broadcast([call.dims(0), call.dims(1)])
  if (rowAxis({ dims }) === dims.length - 1) throw new Coupling('normalises over the rows')
  call.needFixed('scale', 2, 3, 4)
  const statistics = { dims: [...dims.slice(0, -1), one] }
  return [{ dims }, statistics, statistics, { dims }]
}

/** Words of each text, filled up to as many as the longest text has. */
function tokenized(call: Call): Value {
  const dims = [...call.dims(0), unknownSize()]
  return { dims, padding: call.text('pad_value') ?? '' }
}

/** Quantised with scales that are part of the model, at the same places. */
function quantisedAlong(call: Call, scales: readonly number[]): Value {
  call.needFixedScalar('scale', ...scales)
  return { dims: call.dims(0) }
}

/** Rules of com.microsoft: what onnxruntime fuses operators to. */
export const contributedRules: Rules = {
  ...each('Gelu FastGelu BiasGelu QuickGelu BiasAdd', elementwise),
  FusedMatMul: fusedMatMul,
  FusedGemm: gemm,
  FusedConv: (call) => convolved(call, 1, call.dims(1)[0] ?? one),
  MatMulNBits: (call) => {
    const dims = call.dims(0)
    if (rowAxis(call.input(0)) === dims.length - 1) throw new Coupling('sums over the rows')
    call.needFixed('weights', ...call.inputs.map((_, i) => i).slice(1))
    const width = call.attribute('N')?.int()
    return { dims: [...dims.slice(0, -1), width === undefined ? unknownSize() : size(width)] }
  },
  MatMulIntegerToFloat: (call) => {
    call.needFixedScalar('scale', 2, 4)
    call.needFixed('scale', 3, 5, 6)
    return matrixProduct(call.dims(0), call.dims(1))
  },
  ...each('SkipLayerNormalization SkipSimplifiedLayerNormalization', skipNormalised),
  SimplifiedLayerNormalization: normalisedFrom,
  Attention: (call) => attention(call, [0, 3], [1, 2]),
  MultiHeadAttention: (call) => attention(call, [0, 1, 2, 4], [3]),
  CDist: (call) => {
    const [a, b] = [call.dims(0), call.dims(1)]
    for (const i of [0, 1]) call.needRowsAt(0, 'measures across rows', i)
    return shaped([a[0] ?? one, b[0] ?? one])
  },
  Tokenizer: tokenized,
  ...each('QLinearSigmoid QLinearLeakyRelu', (call) => quantisedAlong(call, [1, 2, 3, 4])),
  ...each('QLinearAdd QLinearMul', (call) => {
    call.needFixedScalar('scale', 1, 2, 4, 5, 6, 7)
    return shaped(broadcast([call.dims(0), call.dims(3)]))
  }),
  QLinearGlobalAveragePool: (call) => {
    call.needRowsAt(0, 'pools over the rows')
    if (call.int('channels_last', 0) === 1) throw new Coupling('is of an unknown layout')
    return { dims: quantisedAlong(call, [1, 2, 3, 4]).dims?.map((dim, i) => (i < 2 ? dim : one)) }
  },
}
