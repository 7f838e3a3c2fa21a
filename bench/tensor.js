/** Tensors from the values of bodies, as one writes it by hand for the runtime. */
import { Tensor } from 'onnxruntime-node'

/**
 * @param {import('./http-models.js').Input} input
 * @param {readonly unknown[]} rows
 */
export function tensorOf({ dtype, shape }, rows) {
  const dims = [rows.length, ...shape]
  if (dtype === 'string') return new Tensor(/** @type {string[]} */ (rows), dims)
  const numbers = /** @type {number[]} */ (rows.length === 1 ? flat(rows[0]) : rows.flatMap(flat))
  if (dtype === 'int64') return new Tensor('int64', BigInt64Array.from(numbers, BigInt), dims)
  return new Tensor('float32', Float32Array.from(numbers), dims)
}

/** @param {unknown} row a list of numbers, or of lists */
function flat(row) {
  const list = /** @type {unknown[]} */ (row)
  return Array.isArray(list[0]) ? list.flat(Infinity) : list
}
