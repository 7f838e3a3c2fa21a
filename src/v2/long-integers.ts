/** The character code that begins and ends a string. */
export const quote = 0x22
const minus = 0x2d
const backslash = 0x5c

/** The fewest digits of an integer that JSON.parse may round, and the most of one of 64 bits. */
const fewestDigits = 16
const mostDigits = 20

/**
 * A valid JSON text in which each integer of 16 to 20 digits is a string that begins with `marker`: JSON.parse
 * would round it. What has a fraction or an exponent stays, and what no 64 bits hold: to read millions of digits would
 * take seconds.
 */
export function markLongIntegers(text: string, marker: string): string {
  let marked = ''
  let done = 0
  let i = 0
  while (i < text.length) {
    const code = text.charCodeAt(i)
    if (code === quote) {
      i = endOfString(text, i)
    } else if (isDigit(code)) {
      const digits = i
      while (isDigit(text.charCodeAt(i))) i++
      if (isPartOfNumber(text.charCodeAt(i))) {
        while (isPartOfNumber(text.charCodeAt(i)) || isDigit(text.charCodeAt(i))) i++
      } else if (i - digits >= fewestDigits && i - digits <= mostDigits) {
        const start = text.charCodeAt(digits - 1) === minus ? digits - 1 : digits
        marked += `${text.slice(done, start)}"${marker}${text.slice(start, i)}"`
        done = i
      }
    } else {
      i++
    }
  }
  return marked + text.slice(done)
}

/** The index behind the string of a JSON text that begins at `start`. */
export function endOfString(text: string, start: number): number {
  for (let end = text.indexOf('"', start + 1); end !== -1; end = text.indexOf('"', end + 1)) {
    let first = end
    while (text.charCodeAt(first - 1) === backslash) first--
    if ((end - first) % 2 === 0) return end + 1
  }
  return text.length
}

function isDigit(code: number): boolean {
  return code >= 0x30 && code <= 0x39
}

/** What a number has besides digits: `.eE+-`. */
function isPartOfNumber(code: number): boolean {
  return code === 0x2e || code === 0x65 || code === 0x45 || code === 0x2b || code === minus
}
