/** Buckets for a doubling: each is 2.2 % wide. */
const bucketsPerDoubling = 32
/** The first bucket ends here, in milliseconds. */
const shortestMs = 0.01
const bucketCount = 25 * bucketsPerDoubling // up to 335 s; what takes longer is in the last

/** The bucket of a latency, in constant time. */
function bucketOf(latencyMs: number): number {
  if (!(latencyMs > shortestMs)) return 0
  return Math.min(bucketCount - 1, Math.ceil(Math.log2(latencyMs / shortestMs) * bucketsPerDoubling))
}

function upperMs(bucket: number): number {
  return shortestMs * 2 ** (bucket / bucketsPerDoubling)
}

/** A bucket and how many are in it. */
export type BucketCount = readonly [bucket: number, count: number]

/**
 * Latencies by buckets of equal ratio: quantiles to within 2.2 %, in 3.2 kB whatever the number of requests, and the sum
 * of two of them is that of all their requests. The histogram of the metrics has a few bounds that a user chose.
 */
export class LatencyHistogram {
  readonly #counts = new Uint32Array(bucketCount)
  #total = 0

  constructor(counts: readonly BucketCount[] = []) {
    this.add(counts)
  }

  get total(): number {
    return this.#total
  }

  observe(latencyMs: number): void {
    const bucket = bucketOf(latencyMs)
    this.#counts[bucket] = (this.#counts[bucket] ?? 0) + 1
    this.#total++
  }

  add(counts: readonly BucketCount[]): void {
    for (const [bucket, count] of counts) {
      this.#counts[bucket] = (this.#counts[bucket] ?? 0) + count
      this.#total += count
    }
  }

  /** The bounds of a quantile, in milliseconds; NaN of none. */
  quantileMs(quantile: number): { readonly least: number; readonly most: number } {
    if (this.#total === 0) return { least: NaN, most: NaN }
    let left = Math.ceil(quantile * this.#total)
    let bucket = 0
    while (bucket < bucketCount - 1 && (left -= this.#counts[bucket] ?? 0) > 0) bucket++
    return { least: bucket === 0 ? 0 : upperMs(bucket - 1), most: upperMs(bucket) }
  }

  /** How many surely took longer. */
  surelyBeyond(latencyMs: number): number {
    return this.#from(bucketOf(latencyMs) + 1)
  }

  /** How many may have taken longer. */
  possiblyBeyond(latencyMs: number): number {
    return this.#from(bucketOf(latencyMs))
  }

  #from(bucket: number): number {
    let count = 0
    for (let i = bucket; i < bucketCount; i++) count += this.#counts[i] ?? 0
    return count
  }

  toJSON(): readonly BucketCount[] {
    return [...this.#counts.entries()].filter(([, count]) => count > 0)
  }
}
