import type { AttributeMessage, NodeMessage } from '../onnx-proto.js'
import { hasRows, is, numberOf, same, type Size, unknownRows, unknownSize } from './size.js'

/**
 * What is known of a tensor in the graph. Where a dimension holds the number of rows, what lies at a row's place along
 * it depends on that row of the inputs alone: that is what each operator's rule has to keep. Where none does, the
 * tensor is the same for any rows.
 */
export interface Value {
  /** Undefined of a tensor that is the same for any rows, and of an unknown form. */
  readonly dims?: readonly Size[] | undefined
  /** The numbers in it, of shapes, axes and the like. Those of a shape may hold the number of rows. */
  readonly content?: readonly Size[] | undefined
  /** What fills rows up to the longest of the batch, so that the last dimension depends on all of them. */
  readonly padding?: string | undefined
}

/** Why an operator may make a row's answer depend on the rows beside it. */
export class Coupling extends Error {
  override readonly name = 'Coupling'
}

/** The axis along which a tensor's rows lie; -1 of one that is the same for any rows. */
export function rowAxis({ dims = [] }: Value): number {
  return dims.findIndex(hasRows)
}

export function dependsOnCount({ content = [] }: Value): boolean {
  return content.some(hasRows)
}

/** Whether a tensor is the same for any rows, and any number of them. */
export function isFixed(value: Value): boolean {
  return rowAxis(value) < 0 && !dependsOnCount(value)
}

/** A tensor of these dimensions. @throws Coupling where rows lie along two of them */
export function shaped(dims: readonly Size[]): Value {
  if (dims.filter(hasRows).length > 1) throw new Coupling('pairs each row with every other')
  return { dims }
}

/** The dimensions of a broadcast. @throws Coupling where a row's place in the batch would matter */
export function broadcast(shapes: readonly (readonly Size[])[]): Size[] {
  const rank = Math.max(0, ...shapes.map((dims) => dims.length))
  return Array.from({ length: rank }, (_, i) =>
    shapes.flatMap((dims) => dims[i - rank + dims.length] ?? []).reduce(broadcastSize),
  )
}

function broadcastSize(a: Size, b: Size): Size {
  if (same(a, b) || is(b, 1)) return a
  if (is(a, 1)) return b
  if (hasRows(a) && hasRows(b)) return unknownRows()
  if (hasRows(a) || hasRows(b)) throw new Coupling('joins a row with what belongs to its place in the batch')
  return numberOf(a) === undefined ? (numberOf(b) === undefined ? unknownSize() : b) : a
}

/** An operator's use: its inputs as far as they are known, and its parameters. */
export class Call {
  constructor(
    readonly node: NodeMessage,
    /** The version of the operator's set. */
    readonly opset: number,
    readonly inputs: readonly (Value | undefined)[],
  ) {}

  /** @throws Coupling where it was left out */
  input(i: number): Value {
    const value = this.inputs[i]
    if (value === undefined) throw new Coupling('lacks an input')
    return value
  }

  /** The dimensions of an input. @throws Coupling where they are not known */
  dims(i: number): readonly Size[] {
    const { dims } = this.input(i)
    if (dims === undefined) throw new Coupling('takes an input of unknown rank')
    return dims
  }

  attribute(name: string): AttributeMessage | undefined {
    return this.node.attributes.find((attribute) => attribute.name === name)
  }

  int(name: string, byDefault: number): number {
    return this.attribute(name)?.int() ?? byDefault
  }

  ints(name: string): number[] | undefined {
    return this.attribute(name)?.ints().map(Number)
  }

  text(name: string): string | undefined {
    return this.attribute(name)?.text()
  }

  /** The numbers of an input, where all are known. */
  numbers(i: number): number[] | undefined {
    const numbers = this.inputs[i]?.content?.map(numberOf)
    return numbers?.every((number) => number !== undefined) === true ? numbers : undefined
  }

  /** An axis as a place from the front. */
  axis(axis: number, rank: number): number {
    return axis < 0 ? axis + rank : axis
  }

  /** Numbers that newer operator sets take as an input, and older ones as an attribute; undefined where there are none. */
  parameter(name: string, i: number): number[] | undefined {
    const given = this.ints(name)
    if (given !== undefined || this.inputs[i] === undefined) return given
    const numbers = this.numbers(i)
    if (numbers === undefined) throw new Coupling(`takes its ${name} from a tensor that is not known`)
    return numbers
  }

  /** @throws Coupling unless every input from `i` on, of those named or all, is the same for any rows */
  needFixed(what: string, ...indices: readonly number[]): void {
    for (const i of indices) {
      const value = this.inputs[i]
      if (value !== undefined && !isFixed(value)) throw new Coupling(`takes its ${what} from the rows`)
    }
  }

  /** @throws Coupling unless an input is fixed and has at most one element */
  needFixedScalar(what: string, ...indices: readonly number[]): void {
    this.needFixed(what, ...indices)
    for (const i of indices) {
      const value = this.inputs[i]
      if (value !== undefined && value.dims?.every((dim) => is(dim, 1)) !== true)
        throw new Coupling(`takes a ${what} for each place`)
    }
  }

  /** @throws Coupling where the rows of an input lie along an axis that is not `expected` */
  needRowsAt(expected: number, what: string, i = 0): void {
    const axis = rowAxis(this.input(i))
    if (axis >= 0 && axis !== expected) throw new Coupling(what)
  }
}

/** What an operator makes of what is known of its inputs. @throws Coupling */
export type Rule = (call: Call) => Value | readonly Value[]

export type Rules = Readonly<Record<string, Rule>>

/** The same rule for several operators. */
export function each(operators: string, rule: Rule): Rules {
  return Object.fromEntries(operators.split(' ').map((operator) => [operator, rule]))
}
