/**
 * A table of Markdown; the first column is text, the others are numbers.
 * @param {readonly string[]} head
 * @param {readonly (readonly string[])[]} rows
 */
export function table(head, rows) {
  const lines = [head, ['---', ...head.slice(1).map(() => '---:')], ...rows]
  return lines.map((cells) => `| ${cells.join(' | ')} |`).join('\n')
}

/**
 * With three digits that say something, or as many as stand before the point.
 * @param {number} number
 */
export function figure(number) {
  if (!Number.isFinite(number)) return '–'
  if (Math.abs(number) >= 100) return Math.round(number).toLocaleString('en')
  return number.toPrecision(3)
}

/** @param {number} number */
export const times = (number) => (Number.isFinite(number) ? `${number.toFixed(2)}x` : '–')
