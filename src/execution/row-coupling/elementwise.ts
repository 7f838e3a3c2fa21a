import {
  hasRows,
  is,
  isNumber,
  isSize,
  one,
  over,
  same,
  size,
  type Size,
  times,
  unknownNumber,
} from './size.js'
import {
  broadcast,
  type Call,
  Coupling,
  dependsOnCount,
  each,
  type Rules,
  shaped,
  type Value,
} from './value.js'

/** The most numbers that are computed with: those of shapes, not of weights. */
const mostNumbers = 64

type Arithmetic = (a: Size, b: Size, c: Size) => Size | undefined

/** What operators make of sizes; undefined where that is no product. Each takes as many operands as it names. */
const arithmetic: Readonly<Record<string, Arithmetic>> = {
  Identity: (a) => a,
  // A fraction would be cut off, or not.
  Cast: (a) => (Number.isInteger(a.count) ? a : undefined),
  Add: (a, b) => (is(a, 0) ? b : is(b, 0) ? a : numeric((x, y) => x + y, a, b)),
  Sub: (a, b) => (is(b, 0) ? a : numeric((x, y) => x - y, a, b)),
  Mul: (a, b) => times(a, b),
  Div: (a, b) => (is(b, 0) ? undefined : over(a, b)),
  Neg: (a) => times(a, size(-1)),
  Floor: (a) => numeric((x) => Math.floor(x), a, a),
  Ceil: (a) => numeric((x) => Math.ceil(x), a, a),
  Min: (a, b) => numeric(Math.min, a, b),
  Max: (a, b) => numeric(Math.max, a, b),
  Not: (a) => numeric((x) => 1 - x, a, a),
  And: (a, b) => numeric((x, y) => x * y, a, b),
  Or: (a, b) => numeric((x, y) => Math.max(x, y), a, b),
  Equal: (a, b) => equal(a, b),
  Greater: (a, b) => numeric((x, y) => Number(x > y), a, b),
  Less: (a, b) => numeric((x, y) => Number(x < y), a, b),
  Where: (condition, a, b) => (isNumber(condition) ? (condition.count === 0 ? b : a) : undefined),
}

function numeric(compute: (x: number, y: number) => number, a: Size, b: Size): Size | undefined {
  return isNumber(a) && isNumber(b) ? size(compute(a.count, b.count)) : undefined
}

/** No size equals a negative number. */
function equal(a: Size, b: Size): Size | undefined {
  if (same(a, b)) return size(1)
  if (isNumber(a) && isNumber(b)) return size(0)
  const number = isNumber(a) ? a.count : isNumber(b) ? b.count : undefined
  const other = isNumber(a) ? b : a
  return number !== undefined && number < 0 && isSize(other) ? size(0) : undefined
}

/** An operator whose result at a place depends on its operands at that place alone. */
export function elementwise(call: Call): Value {
  const operands = call.inputs.filter((input) => input !== undefined)
  const content = contentOf(call.node.opType, operands)
  const isKnown = operands.every(({ dims }) => dims !== undefined)
  if (content === undefined && operands.some(dependsOnCount))
    throw new Coupling('computes with the number of rows')
  if (!isKnown) {
    if (operands.some(({ dims }) => dims?.some(hasRows))) throw new Coupling('takes an input of unknown rank')
    return { content }
  }
  return { ...shaped(broadcast(operands.map(({ dims = [] }) => dims))), content }
}

function contentOf(operator: string, operands: readonly Value[]): Size[] | undefined {
  const compute = arithmetic[operator]
  const contents = operands.map(({ content }) => content)
  const length = Math.max(...contents.map((content) => content?.length ?? 1))
  const isVector = operands.every(({ dims }) => dims !== undefined && dims.length <= 1)
  if (compute?.length !== operands.length || !isVector || length > mostNumbers) return undefined
  if (!contents.every((content) => content !== undefined && [1, length].includes(content.length)))
    return undefined
  const result = Array.from({ length }, (_, i) => {
    const sizes = contents.flatMap((content = []) => content[content.length === 1 ? 0 : i] ?? [])
    const [a = one, b = one, c = one] = sizes
    return compute(a, b, c) ?? (sizes.some(hasRows) ? undefined : unknownNumber())
  })
  return result.every((entry) => entry !== undefined) ? result : undefined
}

/** Operators that look at one place at a time; they may have parameters, which are the same for all places. */
const operators =
  'Abs Acos Acosh Add And Asin Asinh Atan Atanh BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Cast Ceil Celu Clip ' +
  'Cos Cosh Div Elu Equal Erf Exp Floor Gelu Greater GreaterOrEqual HardSigmoid HardSwish Identity IsInf IsNaN LeakyRelu ' +
  'Less LessOrEqual Log Max Mean Min Mish Mod Mul Neg Not Or Pow PRelu Reciprocal RegexFullMatch Relu Round Selu Shrink ' +
  'Sigmoid Sign Sin Sinh Softplus Softsign Sqrt StringConcat Sub Sum Swish Tan Tanh ThresholdedRelu Where Xor'

export const elementwiseRules: Rules = {
  ...each(operators, elementwise),
  CastLike: (call) => {
    if (dependsOnCount(call.input(0))) throw new Coupling('computes with the number of rows')
    return { dims: call.input(0).dims }
  },
  Dropout: (call) => {
    const isTraining = call.inputs[2] !== undefined && call.numbers(2)?.every((flag) => flag === 0) !== true
    if (isTraining) throw new Coupling('drops values at random')
    const { dims } = call.input(0)
    return [{ dims }, { dims }]
  },
  // Words that are left out would close ranks.
  StringNormalizer: (call) => {
    if ((call.attribute('stopwords')?.strings().length ?? 0) > 0) throw new Coupling('leaves out entries')
    return { dims: call.input(0).dims }
  },
  ...each('QuantizeLinear DequantizeLinear', (call) => {
    call.needFixed('scale', 1, 2)
    const scale = call.dims(1)
    const dims = call.dims(0)
    const axis = call.axis(call.int('axis', 1), dims.length)
    if (scale.some((dim) => !is(dim, 1)) && axis === dims.findIndex(hasRows))
      throw new Coupling('scales each place in the batch on its own')
    if (scale.length > 1) throw new Coupling('scales in blocks')
    return { dims }
  }),
}
