import { markLongIntegers } from '../v2/long-integers.js'

/** Integers of 16 digits or more, which a number may not hold; also some that stand in texts. */
const mayHaveLongIntegers = /[[,:\s-]\d{16,}\s*[,\]}]/

/**
 * As JSON.parse, with integers that a number can't hold as bigints.
 * @throws SyntaxError
 */
export function parseExactJson(text: string): unknown {
  const value: unknown = JSON.parse(text)
  if (!mayHaveLongIntegers.test(text)) return value
  // A server can't know it, and so write no text that passes for one of these integers.
  const marker = `integer ${Math.random()} `
  return JSON.parse(markLongIntegers(text, marker), (_, entry: unknown) => {
    if (typeof entry !== 'string' || !entry.startsWith(marker)) return entry
    const digits = entry.slice(marker.length)
    return Number.isSafeInteger(Number(digits)) ? Number(digits) : BigInt(digits)
  })
}
