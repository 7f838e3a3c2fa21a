/** @param {readonly number[]} numbers */
export function median(numbers) {
  const sorted = numbers.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1
    ? (sorted[middle] ?? NaN)
    : ((sorted[middle - 1] ?? NaN) + (sorted[middle] ?? NaN)) / 2
}

/**
 * By nearest rank: the smallest number that `percent` of all are not above. NaN of none.
 * @param {readonly number[]} numbers in any order
 * @param {number} percent above 0, up to 100
 */
export function percentile(numbers, percent) {
  const sorted = Float64Array.from(numbers).sort()
  return sorted[Math.ceil((sorted.length * percent) / 100) - 1] ?? NaN
}
