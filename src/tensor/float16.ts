const scratch = new DataView(new ArrayBuffer(8))

/** The number that an IEEE 754 binary16 bit pattern stands for. */
export function fromFloat16(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1
  const exponent = (bits >> 10) & 0x1f
  const fraction = bits & 0x3ff
  if (exponent === 0) return sign * fraction * 2 ** -24
  if (exponent === 0x1f) return fraction === 0 ? sign * Infinity : NaN
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15)
}

/** The nearest IEEE 754 binary16 bit pattern, ties to even; beyond the largest (65,504) it is an infinity. */
export function toFloat16(value: number): number {
  scratch.setFloat64(0, value)
  const sign = (scratch.getUint16(0) & 0x8000) >>> 0
  const magnitude = Math.abs(value)
  if (Number.isNaN(value)) return 0x7e00
  if (magnitude >= 65520) return sign | 0x7c00
  // Below 2^-14 numbers are subnormal and lie 2^-24 apart; above, 2^10 to each power of two.
  const exponent = Math.max(-14, Math.floor(Math.log2(magnitude)))
  const steps = roundHalfToEven(magnitude / 2 ** (exponent - 10))
  // A carry out of the fraction adds one to the exponent by itself, as the encoding intends.
  return sign | (exponent === -14 ? steps : ((exponent + 15) << 10) + (steps - 1024))
}

function roundHalfToEven(value: number): number {
  const floor = Math.floor(value)
  const rest = value - floor
  if (rest !== 0.5) return rest < 0.5 ? floor : floor + 1
  return floor % 2 === 0 ? floor : floor + 1
}
