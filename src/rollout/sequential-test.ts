/** How often something was seen: failures among requests. */
export interface Proportion {
  readonly events: number
  readonly trials: number
}

/**
 * Whether the share of `a` is below that of `b` plus `margin`, of independent trials: rejects that it is not, and is
 * wrong in that with a probability of at most `level`, whatever the true shares and however small the samples.
 *
 * The exact unconditional test of the difference of two proportions. Its probability is that of a difference as low as
 * the one seen where a's share is just b's plus `margin`, the largest over all shares of b that the larger sample does
 * not exclude with confidence: R. L. Berger and D. D. Boos, "P values maximized over a confidence set for the nuisance
 * parameter", Journal of the American Statistical Association 89 (1994), pp. 1012-1016. That the border is the worst
 * case: J. Röhmel and U. Mansmann, "Unconditional non-asymptotic one-sided tests for independent binomial proportions",
 * Biometrical Journal 41 (1999), pp. 149-170. The largest is looked for on a grid.
 */
export function isBelow(a: Proportion, b: Proportion, margin: number, level: number): boolean {
  if (a.trials === 0 || b.trials === 0 || a.events / a.trials >= b.events / b.trials + margin) return false
  // A tenth of the level is for a confidence set that misses the true share.
  const missed = level / 10
  const [lowest, highest] = b.trials >= a.trials ? interval(b, missed) : shifted(interval(a, missed), margin)
  const least = Math.max(0, lowest)
  const width = Math.min(1 - margin, highest) - least
  if (width < 0) return true // no share of b would do
  const difference = new LowDifference(a, b)
  for (const part of grid) {
    const share = least + part * width
    if (difference.probability(share + margin, share) + missed > level) return false
  }
  return true
}

/** Where in the confidence set to look: first where the probability is mostly large, so that most answers are no. */
const grid = [0.5, 1, 0, ...Array.from({ length: 21 }, (_, i) => (i + 1) / 22).filter((part) => part !== 0.5)]

/** Whether the share of `a` is below `share`: the exact binomial test, wrong with a probability of at most `level`. */
export function isBelowShare({ events, trials }: Proportion, share: number, level: number): boolean {
  if (trials === 0 || events / trials >= share) return false
  const { from, probabilities } = binomial(trials, share)
  let sum = 0
  for (let k = from; k <= events; k++) sum += probabilities[k - from] ?? 0
  return sum <= level
}

/**
 * When to look at evidence that grows, and what chance of error each look may take, so that all looks together, however
 * many, take no more than `level`. The looks are spaced geometrically, and the k-th has level / (k (k + 1)), which adds
 * up to `level`: the union bound, and no assumption about how looks hang together. Alpha spending without an end:
 * K. K. G. Lan and D. L. DeMets, "Discrete sequential boundaries for clinical trials", Biometrika 70 (1983),
 * pp. 659-663; the spacing as in S. R. Howard et al., "Time-uniform, nonparametric, nonasymptotic confidence sequences",
 * Annals of Statistics 49 (2021), pp. 1055-1080.
 */
export class Looks {
  readonly #level: number
  #taken: number
  #next: number

  /** @param first trials at the first look */
  constructor(level: number, first: number, { taken = 0, next = first }: Partial<LooksState> = {}) {
    this.#level = level
    this.#taken = taken
    this.#next = next
  }

  /** Looks, where one is due. @returns the level of this look */
  take(trials: number): number | undefined {
    if (trials < this.#next) return undefined
    this.#next = Math.ceil(trials * growth)
    const look = ++this.#taken
    return this.#level / (look * (look + 1))
  }

  toJSON(): LooksState {
    return { taken: this.#taken, next: this.#next }
  }
}

const growth = 1.5

export interface LooksState {
  readonly taken: number
  /** Trials at the next look. */
  readonly next: number
}

/** The chance that two samples of these sizes differ as they do, or a's share is lower yet. */
class LowDifference {
  readonly #a: number
  readonly #b: number
  /** a's events times b's trials, less b's events times a's trials: the difference without fractions. */
  readonly #seen: number

  constructor(a: Proportion, b: Proportion) {
    this.#a = a.trials
    this.#b = b.trials
    this.#seen = a.events * b.trials - b.events * a.trials
  }

  /** Where the true shares are these. */
  probability(shareOfA: number, shareOfB: number): number {
    const a = binomial(this.#a, shareOfA)
    const b = binomial(this.#b, shareOfB)
    const last = a.probabilities.length - 1
    const upTo = a.probabilities // summed up in place
    for (let i = 1; i <= last; i++) upTo[i] = (upTo[i] ?? 0) + (upTo[i - 1] ?? 0)
    let sum = 0
    for (let i = 0; i < b.probabilities.length; i++) {
      // The most events of a at which the difference is as low as the one seen.
      const most = Math.floor(((b.from + i) * this.#a + this.#seen) / this.#b) - a.from
      if (most >= 0) sum += (b.probabilities[i] ?? 0) * (upTo[Math.min(most, last)] ?? 0)
    }
    return sum
  }
}

interface Distribution {
  /** The number of events that the first probability is of. */
  readonly from: number
  readonly probabilities: Float64Array
}

/** The binomial distribution, without tails of less than 1e-15: from the mode by the ratio of neighbours. */
function binomial(trials: number, share: number): Distribution {
  const p = Math.min(Math.max(share, 1e-15), 1 - 1e-15)
  const reach = 9 * Math.sqrt(trials * p * (1 - p)) + 40
  const from = Math.max(0, Math.floor(trials * p - reach))
  const to = Math.min(trials, Math.ceil(trials * p + reach))
  const probabilities = new Float64Array(to - from + 1)
  const mode = Math.min(trials, Math.floor((trials + 1) * p))
  const odds = p / (1 - p)
  const atMode = Math.exp(
    lnFactorial(trials) -
      lnFactorial(mode) -
      lnFactorial(trials - mode) +
      mode * Math.log(p) +
      (trials - mode) * Math.log1p(-p),
  )
  probabilities[mode - from] = atMode
  for (let k = mode, value = atMode; k < to; k++) {
    value *= ((trials - k) / (k + 1)) * odds
    probabilities[k + 1 - from] = value
  }
  for (let k = mode, value = atMode; k > from; k--) {
    value *= k / ((trials - k + 1) * odds)
    probabilities[k - 1 - from] = value
  }
  return { from, probabilities }
}

const tabled = 256
const lnFactorials = new Float64Array(tabled)
for (let n = 2; n < tabled; n++) lnFactorials[n] = (lnFactorials[n - 1] ?? 0) + Math.log(n)

/** By Stirling's series from where its error is below 1e-14. */
function lnFactorial(n: number): number {
  if (n < tabled) return lnFactorials[n] ?? 0
  return n * Math.log(n) - n + Math.log(2 * Math.PI * n) / 2 + 1 / (12 * n) - 1 / (360 * n ** 3)
}

/** A confidence interval of a share that misses it with a probability of at most `missed`, by Chernoff's bound. */
function interval(
  { events, trials }: Proportion,
  missed: number,
): readonly [lowest: number, highest: number] {
  const seen = events / trials
  const limit = Math.log(2 / missed) / trials
  return [bordering(seen, 0, limit), bordering(seen, 1, limit)]
}

/** Between `seen` and `end`, by bisection: the share from which on what was seen is too far away. */
function bordering(seen: number, end: number, limit: number): number {
  let near = seen
  let far = end
  for (let i = 0; i < 50; i++) {
    const middle = (near + far) / 2
    if (divergence(seen, middle) > limit) far = middle
    else near = middle
  }
  return far
}

/** Kullback and Leibler's divergence of two Bernoulli distributions. */
function divergence(seen: number, share: number): number {
  const of = (a: number, b: number) => (a === 0 ? 0 : a * Math.log(a / b))
  return of(seen, share) + of(1 - seen, 1 - share)
}

function shifted([lowest, highest]: readonly [number, number], by: number): readonly [number, number] {
  return [lowest - by, highest - by]
}
