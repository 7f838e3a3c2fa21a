/**
 * Compares version names: numbers as numbers, semantic versions by their rules (semver.org, 11: a pre-release
 * comes before its release), everything else as text. Names of the first two kinds come after other text, so
 * that the highest of a mixed folder is a version number.
 */
export function compareVersions(a: string, b: string): number {
  const [left, right] = [parse(a), parse(b)]
  if (left === undefined || right === undefined) {
    if (left !== right) return left === undefined ? -1 : 1
    return compareText(a, b)
  }
  for (let i = 0; i < Math.max(left.numbers.length, right.numbers.length); i++) {
    const difference = (left.numbers[i] ?? 0n) - (right.numbers[i] ?? 0n)
    if (difference !== 0n) return difference < 0n ? -1 : 1
  }
  return comparePreRelease(left.preRelease, right.preRelease) || compareText(a, b)
}

function parse(version: string): { numbers: bigint[]; preRelease: string[] } | undefined {
  const match = /^v?(\d+(?:\.\d+)*)(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?$/.exec(version)
  if (match?.[1] === undefined) return undefined
  return { numbers: match[1].split('.').map(BigInt), preRelease: match[2]?.split('.') ?? [] }
}

function comparePreRelease(a: readonly string[], b: readonly string[]): number {
  if (a.length === 0 || b.length === 0) return Math.sign(b.length - a.length)
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    const [left, right] = [a[i], b[i]]
    if (left === undefined || right === undefined) return left === undefined ? -1 : 1
    const [leftNumeric, rightNumeric] = [/^\d+$/.test(left), /^\d+$/.test(right)]
    if (leftNumeric !== rightNumeric) return leftNumeric ? -1 : 1
    const order = leftNumeric ? Math.sign(Number(left) - Number(right)) : compareText(left, right)
    if (order !== 0) return order
  }
  return 0
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
