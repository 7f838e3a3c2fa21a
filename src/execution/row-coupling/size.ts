/**
 * A size that the graph computes with, as a product: a number times unknowns. {@link rows} is the number of rows;
 * every other unknown is the same in each batch that requests of one signature can share.
 */
export interface Size {
  readonly count: number
  readonly unknowns: readonly symbol[]
}

const rowsSymbol = Symbol('rows')

/** The number of rows of the batch. */
export const rows: Size = { count: 1, unknowns: [rowsSymbol] }

export const one: Size = { count: 1, unknowns: [] }

export function size(count: number): Size {
  return { count, unknowns: [] }
}

/** The size of some dimension, not known, the same for any rows. */
export function unknownSize(): Size {
  return { count: 1, unknowns: [Symbol()] }
}

const anyNumber = 'any number'

/** A number that is not known, and may be no size: 0, or negative. */
export function unknownNumber(): Size {
  return { count: 1, unknowns: [Symbol(anyNumber)] }
}

/** Whether it can't be negative. */
export function isSize({ count, unknowns }: Size): boolean {
  return count >= 0 && unknowns.every(({ description }) => description !== anyNumber)
}

/** A multiple of the number of rows. */
export function unknownRows(): Size {
  return times(rows, unknownSize())
}

export function isNumber({ unknowns }: Size): boolean {
  return unknowns.length === 0
}

/** The number that a size is; undefined where it is not known. */
export function numberOf(value: Size | undefined): number | undefined {
  return value !== undefined && isNumber(value) ? value.count : undefined
}

export function is(value: Size | undefined, count: number): boolean {
  return numberOf(value) === count
}

export function hasRows({ unknowns }: Size): boolean {
  return unknowns.includes(rowsSymbol)
}

export function times(a: Size, b: Size): Size {
  return { count: a.count * b.count, unknowns: [...a.unknowns, ...b.unknowns] }
}

export function product(sizes: readonly Size[]): Size {
  return sizes.reduce(times, one)
}

/** `a / b` where that leaves no rest; undefined where it does, or may. */
export function over(a: Size, b: Size): Size | undefined {
  const unknowns = [...a.unknowns]
  for (const unknown of b.unknowns) {
    const at = unknowns.indexOf(unknown)
    if (at < 0) return undefined
    unknowns.splice(at, 1)
  }
  const count = a.count / b.count
  return Number.isInteger(count) ? { count, unknowns } : undefined
}

export function same(a: Size, b: Size): boolean {
  return a.count === b.count && over(a, b)?.unknowns.length === 0
}
