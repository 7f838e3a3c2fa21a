import type { GraphMessage } from '../onnx-proto.js'
import { hasRows, same, type Size, unknownRows, unknownSize } from './size.js'
import { type Call, Coupling, dependsOnCount, isFixed, rowAxis, type Value } from './value.js'

/** What an operator with graphs inside can do with them. */
export interface Body {
  /** The values of a graph's outputs, where its inputs have these. */
  run(graph: GraphMessage, inputs: readonly Value[]): Value[]
}

function graphOf(call: Call, name: string): GraphMessage {
  const graph = call.attribute(name)?.graphs[0]
  if (graph === undefined) throw new Coupling(`lacks its ${name}`)
  return graph
}

/** An If: the branch that is taken, or where that is not known what both have in common. */
export function branch(call: Call, body: Body): Value[] {
  if (!isFixed(call.input(0))) throw new Coupling('chooses for all rows by some of them')
  const flag = call.numbers(0)?.[0]
  const taken = (name: string) => body.run(graphOf(call, name), [])
  if (flag !== undefined) return taken(flag === 0 ? 'else_branch' : 'then_branch')
  const others = taken('else_branch')
  return taken('then_branch').map((value, i) => joined(value, others[i] ?? {}))
}

/** What two values have in common. @throws Coupling where rows lie along different axes */
function joined(a: Value, b: Value): Value {
  if (rowAxis(a) !== rowAxis(b) || a.padding !== b.padding) throw new Coupling('turns the rows, or not')
  const isSame =
    a.content?.length === b.content?.length && a.content?.every((x, i) => same(x, b.content?.[i] ?? x))
  if (isSame !== true && (dependsOnCount(a) || dependsOnCount(b)))
    throw new Coupling('computes with the number of rows')
  return { ...a, dims: joinedDims(a.dims, b.dims), content: isSame === true ? a.content : undefined }
}

function joinedDims(
  a: readonly Size[] | undefined,
  b: readonly Size[] | undefined,
): readonly Size[] | undefined {
  const axis = rowAxis({ dims: a ?? [] })
  if (a?.length !== b?.length && axis >= 0) throw new Coupling('gives rows of one form or another')
  if (a?.length !== b?.length) return undefined
  return a?.map((dim, i) => {
    const other = b?.[i] ?? dim
    if (same(dim, other)) return dim
    return hasRows(dim) && hasRows(other) ? unknownRows() : unknownSize()
  })
}

/**
 * What a loop's state is, whatever the number of turns: what it begins with, as far as a turn leaves it so.
 * @param turn the state after a turn
 * @throws Coupling where there is no such
 */
function settled(
  begin: readonly Value[],
  turn: (state: readonly Value[]) => readonly Value[],
): readonly Value[] {
  if (begin.some(dependsOnCount)) throw new Coupling('computes with the number of rows')
  const first = begin.map((value) => ({ ...value, content: undefined }))
  const after = turn(first)
  const state = first.map((value, i) => ({ ...joined(value, after[i] ?? {}), content: undefined }))
  // A size that varied is unknown by now: one turn more shows whether that is all that varies.
  const again = turn(state)
  state.forEach((value, i) => {
    const next = again[i] ?? {}
    if (rowAxis(joined(value, next)) !== rowAxis(value) || value.dims?.length !== next.dims?.length)
      throw new Coupling('changes the form of its state')
    const isStable = value.dims?.every((dim, axis) => {
      const [before, later] = [first[i]?.dims?.[axis], next.dims?.[axis]]
      const varies = before === undefined || !same(before, dim)
      return varies || (later !== undefined && same(later, dim))
    })
    if (isStable === false) throw new Coupling('changes the form of its state')
  })
  return state
}

/** A Loop: the same number of turns for all rows. */
export function loop(call: Call, body: Body): Value[] {
  const graph = graphOf(call, 'body')
  call.needFixed('number of turns', 0, 1)
  const begin = call.inputs.slice(2).map((value) => value ?? {})
  const flag = { dims: [] }
  let results: readonly Value[] = []
  const turn = (state: readonly Value[]) => {
    const [again, ...rest] = body.run(graph, [{ dims: [] }, flag, ...state])
    if (again === undefined || !isFixed(again)) throw new Coupling('goes on for all rows by some of them')
    results = rest.slice(begin.length)
    return rest.slice(0, begin.length)
  }
  const state = settled(begin, turn)
  return [...state, ...results.map((value) => stacked(value, 0))]
}

/** A Scan: along an axis that is not that of the rows. */
export function scan(call: Call, body: Body): Value[] {
  if (call.opset < 9) throw new Coupling('is of an old form')
  const graph = graphOf(call, 'body')
  const count = call.inputs.length - call.int('num_scan_inputs', 0)
  const axes = call.ints('scan_input_axes') ?? []
  const entries = call.inputs.slice(count).map((value = {}, i) => {
    const { dims } = value
    if (dims === undefined) throw new Coupling('takes an input of unknown rank')
    const axis = call.axis(axes[i] ?? 0, dims.length)
    if (rowAxis(value) === axis) throw new Coupling('recurs over the rows')
    return { dims: dims.filter((_, at) => at !== axis) }
  })
  let results: readonly Value[] = []
  const turn = (state: readonly Value[]) => {
    const all = body.run(graph, [...state, ...entries])
    results = all.slice(count)
    return all.slice(0, count)
  }
  const begin = call.inputs.slice(0, count).map((value) => value ?? {})
  const state = settled(begin, turn)
  const outputAxes = call.ints('scan_output_axes') ?? []
  return [
    ...state,
    ...results.map((value, i) =>
      stacked(value, call.axis(outputAxes[i] ?? 0, (value.dims?.length ?? 0) + 1)),
    ),
  ]
}

/** The results of all turns, along a new axis. */
function stacked({ dims, content, padding }: Value, axis: number): Value {
  if (padding !== undefined) throw new Coupling('stacks what is filled up to the longest row')
  if (content?.some(hasRows)) throw new Coupling('computes with the number of rows')
  return { dims: dims && [...dims.slice(0, axis), unknownSize(), ...dims.slice(axis)] }
}
