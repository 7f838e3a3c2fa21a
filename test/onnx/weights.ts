/** Deterministic weights for the models that are written here. */
import { type Encoded, float32 } from './writer.js'

/** Pseudo-random numbers in [-1, 1), the same for the same seed (mulberry32). */
export function random(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let bits = Math.imul(state ^ (state >>> 15), state | 1)
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61)
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 31 - 1
  }
}

/** Weights of a variance that keeps activations of the same size through layers. */
export function weights(name: string, dims: readonly number[], fanIn: number, next: () => number): Encoded {
  const count = dims.reduce((product, dim) => product * dim, 1)
  const scale = Math.sqrt(6 / fanIn)
  return float32(
    name,
    dims,
    Array.from({ length: count }, () => next() * scale),
  )
}
