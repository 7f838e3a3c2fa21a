import { endOfString, quote } from '../v2/long-integers.js'

/** How far a JSON text is nested, and how many entries its lists and objects have in all. */
export interface JsonShape {
  readonly depth: number
  readonly elements: number
}

/**
 * Whether a JSON text is so short, and has so few brackets, that it is quickly known to be within the limits: what most
 * texts are, also those of many numbers. Of others {@link measureJson} tells.
 */
export function isSurelyWithin(text: string, limits: JsonShape): boolean {
  if (text.length / 2 > limits.elements) return false // an element has a comma or bracket beside it
  const most = Math.max(limits.depth, text.length / fewestBetween)
  let brackets = 0
  for (const bracket of '[{') {
    for (let i = text.indexOf(bracket); i !== -1; i = text.indexOf(bracket, i + 1)) {
      if (++brackets > most) return false
    }
  }
  return brackets <= limits.depth || depthOf(text, limits.depth) <= limits.depth
}

/** Where there are fewer characters to a bracket, to look for the next one takes longer than to look at each. */
const fewestBetween = 64

/** How far a text is nested; stops at the first that passes the limit. */
function depthOf(text: string, limit: number): number {
  let level = 0
  let depth = 0
  bracketsAndQuotes.lastIndex = 0
  while (depth <= limit && bracketsAndQuotes.test(text)) {
    const { lastIndex } = bracketsAndQuotes
    const code = text.charCodeAt(lastIndex - 1)
    if (code === quote) bracketsAndQuotes.lastIndex = endOfString(text, lastIndex - 1)
    else if (code === closeBracket || code === closeBrace) level--
    else if (++level > depth) depth = level
  }
  return depth
}

const bracketsAndQuotes = /[[\]{}"]/g

/**
 * Counts a text's nesting and elements without parsing it; stops at the first that passes its limit. Of a text that
 * is no JSON it counts something, and JSON.parse says what is wrong.
 */
export function measureJson(text: string, limits: JsonShape): JsonShape {
  let level = 0
  let depth = 0
  let elements = 0
  for (let i = 0; i < text.length && depth <= limits.depth && elements <= limits.elements; i++) {
    switch (text.charCodeAt(i)) {
      case quote:
        i = endOfString(text, i) - 1
        break
      case openBracket:
      case openBrace:
        if (++level > depth) depth = level
        // The first entry has no comma before it.
        if (!isClosedNext(text, i + 1)) elements++
        break
      case closeBracket:
      case closeBrace:
        level--
        break
      case comma:
        elements++
    }
  }
  return { depth, elements }
}

const openBracket = 0x5b
const closeBracket = 0x5d
const openBrace = 0x7b
const closeBrace = 0x7d
const comma = 0x2c

function isClosedNext(text: string, from: number): boolean {
  let i = from
  while (isWhiteSpace(text.charCodeAt(i))) i++
  const code = text.charCodeAt(i)
  return code === closeBracket || code === closeBrace
}

function isWhiteSpace(code: number): boolean {
  return code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09
}
