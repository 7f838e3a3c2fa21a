/** So many chunks in a row become one, where they are small: each costs some hundreds of bytes beside its own. */
const mostLoose = 256
const smallBytes = 1024

/**
 * The chunks of a body as they come, up to a number of bytes; then what they are together, or part after part. They take
 * about as much memory as their bytes, also of a body that comes byte by byte.
 */
export class Chunks {
  #chunks: Uint8Array[] = []
  #size = 0
  /** The last chunks, as far as they were not looked at together yet: how many, and their bytes. */
  #loose = 0
  #looseBytes = 0

  constructor(private readonly maxBytes: number) {}

  /** A body that is there already. */
  static of(bytes: Uint8Array): Chunks {
    const chunks = new Chunks(bytes.length)
    chunks.add(bytes)
    return chunks
  }

  /** Bytes that came, less those that were taken. */
  get size(): number {
    return this.#size
  }

  /** @returns false once there are too many bytes; what came before is then let go */
  add(chunk: Uint8Array): boolean {
    if (!this.count(chunk)) {
      this.#chunks = []
      return false
    }
    this.#chunks.push(chunk)
    this.#looseBytes += chunk.length
    if (++this.#loose === mostLoose) this.#tighten()
    return true
  }

  #tighten(): void {
    if (this.#looseBytes < mostLoose * smallBytes)
      this.#chunks.push(Buffer.concat(this.#chunks.splice(-mostLoose)))
    this.#loose = 0
    this.#looseBytes = 0
  }

  count({ length }: Uint8Array): boolean {
    this.#size += length
    return this.#size <= this.maxBytes
  }

  /** All in one, which it lets go; of a single chunk, that itself. */
  asOne(): Uint8Array {
    const [first] = this.#chunks
    if (first === undefined || this.#chunks.length > 1) return this.joined()
    this.#chunks = []
    this.#size = 0
    return first
  }

  /** All in one, in memory of its own, which it lets go: the stream that it is filled by lives on. */
  joined(): Uint8Array {
    return this.take(this.#size)
  }

  /** The next bytes, which it lets go, in memory of their own. @param length up to {@link size} */
  take(length: number): Uint8Array {
    const bytes = new Uint8Array(length)
    let filled = 0
    let used = 0
    for (let chunk = this.#chunks[0]; chunk !== undefined && filled < length; chunk = this.#chunks[used]) {
      const part = chunk.subarray(0, length - filled)
      bytes.set(part, filled)
      filled += part.length
      if (part.length === chunk.length) used++
      else this.#chunks[used] = chunk.subarray(part.length)
    }
    this.#chunks.splice(0, used)
    this.#size -= length
    return bytes
  }
}
