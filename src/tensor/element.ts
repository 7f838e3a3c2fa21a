import { toFloat16 } from './float16.js'
import type { DType } from './tensor.js'

/** A value is not an element of its dtype; the message says what would be. */
export class ElementMismatch extends Error {}

/** Makes an array element of a plain value, by dtype; throws {@link ElementMismatch}. */
export const elementOf: Readonly<Record<DType, (value: unknown) => unknown>> = {
  float32: (value) => finite(value, Math.fround, 'float32'),
  float64: (value) => finite(value, (number) => number, 'float64'),
  float16: (value) =>
    toFloat16(finite(value, (number) => (Math.abs(number) < 65520 ? number : Infinity), 'float16')),
  int8: integerElement(-128, 127),
  uint8: integerElement(0, 255),
  int16: integerElement(-32768, 32767),
  uint16: integerElement(0, 65535),
  int32: integerElement(-2147483648, 2147483647),
  uint32: integerElement(0, 4294967295),
  int64: bigintElement(-(2n ** 63n), 2n ** 63n - 1n),
  uint64: bigintElement(0n, 2n ** 64n - 1n),
  bool: (value) => {
    if (typeof value !== 'boolean') throw new ElementMismatch('true or false')
    return value ? 1 : 0
  },
  string: (value) => {
    if (typeof value !== 'string') throw new ElementMismatch('a string')
    // Both would be changed silently by the runtime, which would then answer for another text.
    if (loneSurrogate.test(value)) throw new ElementMismatch('text without half a surrogate pair')
    if (value.includes('\0')) throw new ElementMismatch('text without U+0000, where the runtime would cut it')
    return value
  },
}

const loneSurrogate = /\p{Surrogate}/u

function finite(value: unknown, convert: (value: number) => number, dtype: DType): number {
  if (typeof value !== 'number' && typeof value !== 'bigint') throw new ElementMismatch('a number')
  const converted = convert(Number(value))
  if (!Number.isFinite(converted)) throw new ElementMismatch(`a finite number within the range of ${dtype}`)
  return converted
}

function integerElement(min: number, max: number): (value: unknown) => unknown {
  return (value) => {
    if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max) return value
    throw new ElementMismatch(`an integer from ${min} to ${max}`)
  }
}

function bigintElement(min: bigint, max: bigint): (value: unknown) => unknown {
  const [lowest, highest] = [Number(min), Number(max)]
  return (value) => {
    const isRounded = Number.isInteger(value) && !Number.isSafeInteger(value)
    if (isRounded && Number(value) >= lowest && Number(value) <= highest) {
      throw new ElementMismatch('a bigint where it is beyond 2^53 (a number has lost digits already)')
    }
    const integer =
      typeof value === 'bigint' ? value : Number.isInteger(value) ? BigInt(value as number) : undefined
    if (integer === undefined || integer < min || integer > max) {
      throw new ElementMismatch(`an integer from ${min} to ${max}`)
    }
    return integer
  }
}
