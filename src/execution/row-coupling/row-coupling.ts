import {
  type AttributeMessage,
  type FunctionMessage,
  type GraphMessage,
  isStandard,
  type ModelMessage,
  type NodeMessage,
  type OnnxOpset,
  readModel,
  type TensorMessage,
} from '../onnx-proto.js'
import { type Body, branch, loop, scan } from './control-flow.js'
import { isRandom, ruleOf } from './operators.js'
import { is, over, rows, size, type Size, unknownSize } from './size.js'
import { Call, Coupling, dependsOnCount, isFixed, rowAxis, type Value } from './value.js'

/** An operator through which the answer to a row may depend on the rows beside it. */
export interface RowCoupling {
  readonly operator: string
  /** Its name in the graph; `''` where it has none. */
  readonly node: string
  readonly reason: string
}

/**
 * Looks for what makes the rows of a model depend on each other, where rows lie along the first dimension of every
 * input. It follows that dimension through the graph, subgraphs and functions included, by a rule for each operator;
 * an operator without one counts as coupling, and so does an output whose first dimension is not that of the rows.
 *
 * What it accepts keeps rows apart for each input of one row that the model takes. It refuses some models that do.
 *
 * @throws OnnxFormatError when the bytes are not those of an ONNX model
 */
export function findRowCoupling(model: Uint8Array | ModelMessage): RowCoupling | undefined {
  const { graph, functions, opsets } = 'graph' in model ? model : readModel(model)
  const initialized = new Set(graph.initializers.map(({ name }) => name))
  const named = new Map<string, Size>()
  const scope = new Scope()
  try {
    for (const { name, kind, dims } of graph.inputs) {
      if (initialized.has(name)) continue
      if (kind !== 'tensor' || typeof dims?.[0] !== 'string')
        return { operator: 'input', node: name, reason: 'has no leading axis of variable length' }
      scope.set(name, { dims: [rows, ...dims.slice(1).map((dim) => sizeOf(dim, named))] })
    }
    const walk = new Walk(functions, opsets)
    for (const [i, value] of walk.graph(graph, scope).entries()) {
      const reason = outputProblem(value)
      if (reason !== undefined) return { operator: 'output', node: graph.outputs[i]?.name ?? '', reason }
    }
    return undefined
  } catch (error) {
    if (error instanceof Found) return error.coupling
    throw error
  }
}

/** Dimensions of one name are of one size. */
function sizeOf(dim: number | string, named: Map<string, Size>): Size {
  if (typeof dim === 'number') return size(dim)
  const known = named.get(dim) ?? unknownSize()
  if (dim !== '') named.set(dim, known)
  return known
}

function outputProblem(value: Value): string | undefined {
  if (value.padding !== undefined) return 'is filled up to the longest row'
  const first = value.dims?.[0]
  if (rowAxis(value) !== 0 || first === undefined) return 'does not follow the rows'
  const perRow = over(first, rows)
  return perRow?.unknowns.length === 0 && !is(perRow, 1) ? 'does not have one entry for each row' : undefined
}

class Found extends Error {
  constructor(readonly coupling: RowCoupling) {
    super(coupling.reason)
  }
}

/** The values of a graph by name, and those of the graphs around it. */
class Scope {
  readonly #values = new Map<string, Value>()

  constructor(private readonly outer?: Scope) {}

  set(name: string, value: Value): void {
    this.#values.set(name, value)
  }

  get(name: string): Value | undefined {
    return this.#values.get(name) ?? this.outer?.get(name)
  }
}

/** Parameters of a function's call, by name. */
type Bindings = ReadonlyMap<string, AttributeMessage>

/** A tensor of at most so many numbers may be a shape, or axes. */
const mostNumbers = 64

class Walk {
  readonly #functions: ReadonlyMap<string, FunctionMessage>

  constructor(
    functions: readonly FunctionMessage[],
    private readonly opsets: readonly OnnxOpset[],
  ) {
    this.#functions = new Map(functions.map((body) => [`${body.domain}:${body.name}`, body]))
  }

  /** The values of a graph's outputs. */
  graph(graph: GraphMessage, scope: Scope, opsets = this.opsets, bindings?: Bindings): Value[] {
    for (const tensor of graph.initializers) scope.set(tensor.name, constant(tensor))
    for (const node of graph.nodes) {
      const values = this.#node(
        bindings === undefined ? node : bound(node, bindings),
        scope,
        opsets,
        bindings,
      )
      for (const [i, name] of node.outputs.entries()) if (name !== '') scope.set(name, values[i] ?? {})
    }
    return graph.outputs.map(({ name }) => scope.get(name) ?? {})
  }

  #node(
    node: NodeMessage,
    scope: Scope,
    opsets: readonly OnnxOpset[],
    bindings?: Bindings,
  ): readonly Value[] {
    const inputs = node.inputs.map((name) => (name === '' ? undefined : scope.get(name)))
    const version = opsets.find(
      ({ domain }) => domain === node.domain || (isStandard(domain) && isStandard(node.domain)),
    )
    const call = new Call(node, version?.version ?? 1, inputs)
    const body: Body = {
      run: (graph, given) => {
        const inner = new Scope(scope)
        graph.inputs.forEach(({ name }, i) => inner.set(name, given[i] ?? {}))
        return this.graph(graph, inner, opsets, bindings)
      },
    }
    try {
      return this.#values(call, body)
    } catch (error) {
      if (error instanceof Coupling)
        throw new Found({ operator: node.opType, node: node.name, reason: error.message })
      throw error
    }
  }

  #values(call: Call, body: Body): readonly Value[] {
    const { node, inputs } = call
    const missing = node.inputs.find((name, i) => name !== '' && inputs[i] === undefined)
    if (missing !== undefined) throw new Coupling(`takes "${missing}", which is not there`)
    const definition = this.#functions.get(`${node.domain}:${node.opType}`)
    if (definition !== undefined) return this.#call(definition, call)
    if (isStandard(node.domain)) {
      if (node.opType === 'Constant') return [constantOf(call)]
      if (node.opType === 'If') return branch(call, body)
      if (node.opType === 'Loop') return loop(call, body)
      if (node.opType === 'Scan') return scan(call, body)
    }
    const rule = ruleOf(node)
    const isAllFixed = inputs.every((value) => value === undefined || isFixed(value))
    const isKnownDomain = isStandard(node.domain) || ['ai.onnx.ml', 'com.microsoft'].includes(node.domain)
    const isConstant = isAllFixed && isKnownDomain && !isRandom(node)
    if (typeof rule === 'string') {
      if (isConstant) return node.outputs.map(() => ({}))
      throw new Coupling(rule)
    }
    try {
      const values = rule(call)
      return checked(call, 'length' in values ? values : [values])
    } catch (error) {
      // Whatever it does: it is the same for any rows.
      if (error instanceof Coupling && isConstant) return node.outputs.map(() => ({}))
      throw error
    }
  }

  #call(definition: FunctionMessage, { node, inputs }: Call): Value[] {
    const scope = new Scope()
    definition.inputs.forEach(({ name }, i) => scope.set(name, inputs[i] ?? {}))
    const bindings = new Map(node.attributes.map((attribute) => [attribute.name, attribute]))
    const opsets = definition.opsets.length > 0 ? definition.opsets : this.opsets
    return this.graph(definition, scope, opsets, bindings)
  }
}

/** A node of a function's body, with the parameters of the call. */
function bound(node: NodeMessage, bindings: Bindings): NodeMessage {
  const attributes = node.attributes.map((attribute) => {
    if (attribute.reference === undefined) return attribute
    const given = bindings.get(attribute.reference)
    if (given === undefined)
      throw new Found({ operator: node.opType, node: node.name, reason: 'has a parameter that is not known' })
    return { ...given, name: attribute.name }
  })
  return { ...node, attributes }
}

/** What a rule must not have lost: rows, their number, or that they are padded. */
function checked({ node, inputs }: Call, values: readonly Value[]): readonly Value[] {
  const given = inputs.filter((value) => value !== undefined)
  const isPadded = given.some(({ padding }) => padding !== undefined)
  if (isPadded && !['Gather', 'TfIdfVectorizer'].includes(node.opType))
    throw new Coupling('takes what is filled up to the longest row')
  const isOfShape = ['Shape', 'Size'].includes(node.opType)
  for (const [i, value] of values.entries()) {
    if (!node.outputs[i] || rowAxis(value) >= 0) continue
    const hadRows = given.some((input) => rowAxis(input) >= 0) && !isOfShape
    if (hadRows || (given.some(dependsOnCount) && value.content === undefined))
      throw new Coupling('has an output that does not follow the rows')
  }
  return values
}

function constant(tensor: TensorMessage): Value {
  const count = tensor.dims.reduce((product, dim) => product * dim, 1)
  const numbers = tensor.dims.length <= 1 && count <= mostNumbers ? tensor.numbers() : undefined
  const content = numbers?.length === count ? numbers.map(size) : undefined
  return { dims: tensor.dims.map(size), content }
}

/** @throws Coupling for a constant of a kind that is not known */
function constantOf(call: Call): Value {
  const tensor = call.attribute('value')?.tensors[0]
  if (tensor !== undefined) return constant(tensor)
  const list = call.ints('value_ints') ?? call.attribute('value_floats')?.floats()
  if (list !== undefined) return { dims: [size(list.length)], content: list.map(size) }
  const single = call.attribute('value_int')?.int() ?? call.attribute('value_float')?.float()
  if (single !== undefined) return { dims: [], content: [size(single)] }
  const texts = call.attribute('value_strings')?.strings()
  return texts === undefined ? { dims: call.attribute('value_string') && [] } : { dims: [size(texts.length)] }
}
