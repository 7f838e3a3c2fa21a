import { describe, expect, test } from 'vitest'
import { random } from '../../bench/rollouts/simulation.js'
import { isBelow, isBelowShare, Looks } from '../../src/rollout/sequential-test.js'

/** The binomial distribution, term by term. */
function binomial(trials: number, share: number): number[] {
  const terms = [(1 - share) ** trials]
  for (let k = 1; k <= trials; k++)
    terms.push(((terms[k - 1] ?? 0) * (trials - k + 1) * share) / (k * (1 - share)))
  return terms
}

/** How often the test says yes where these are the true shares: over every result that there is. */
function rateOfYes(
  aTrials: number,
  bTrials: number,
  shares: [a: number, b: number],
  margin: number,
  level: number,
) {
  const [a, b] = [binomial(aTrials, shares[0]), binomial(bTrials, shares[1])]
  let rate = 0
  for (const [i, ofA] of a.entries()) {
    for (const [j, ofB] of b.entries()) {
      if (isBelow({ events: i, trials: aTrials }, { events: j, trials: bTrials }, margin, level))
        rate += ofA * ofB
    }
  }
  return rate
}

describe('the comparison of two shares', () => {
  const level = 0.05
  test.each([0.001, 0.02, 0.1, 0.3, 0.5, 0.8])(
    'is wrong with no more than its level where both are %d, over every result of small samples',
    (share) => {
      expect(rateOfYes(40, 15, [share, share], 0, level)).toBeLessThanOrEqual(level)
      expect(rateOfYes(12, 50, [share, share], 0, level)).toBeLessThanOrEqual(level)
    },
  )

  test.each([0.001, 0.02, 0.1, 0.3, 0.5, 0.8])(
    'is wrong with no more than its level where one is just the margin above %d',
    (share) => {
      expect(rateOfYes(30, 60, [share + 0.1, share], 0.1, level)).toBeLessThanOrEqual(level)
    },
  )

  test('finds a difference that is there', () => {
    expect(rateOfYes(50, 50, [0.05, 0.5], 0, level)).toBeGreaterThan(0.99)
  })

  test('is exact where the normal distribution is not: 5 of 5 against 0 of 95', () => {
    const [stable, candidate] = [
      { events: 0, trials: 95 },
      { events: 5, trials: 5 },
    ]
    expect(isBelow(stable, candidate, 0, 1e-6)).toBe(true)
    expect(isBelow(stable, { events: 1, trials: 5 }, 0, 0.01)).toBe(false)
  })

  test('takes millions of trials', () => {
    const stable = { events: 1_000_000, trials: 100_000_000 }
    expect(isBelow(stable, { events: 10_600, trials: 1_000_000 }, 0, 1e-4)).toBe(true)
    expect(isBelow(stable, { events: 10_100, trials: 1_000_000 }, 0, 1e-4)).toBe(false)
    expect(isBelow({ events: 10_100, trials: 1_000_000 }, stable, 0.001, 1e-4)).toBe(true)
  })

  test('says nothing of no trials', () => {
    expect(isBelow({ events: 0, trials: 0 }, { events: 5, trials: 5 }, 0, 0.5)).toBe(false)
    expect(isBelow({ events: 0, trials: 9 }, { events: 0, trials: 0 }, 0.5, 0.5)).toBe(false)
    expect(isBelowShare({ events: 0, trials: 0 }, 0.5, 0.5)).toBe(false)
  })
})

test('the comparison with a known share is the binomial distribution', () => {
  // 0.9 ** 44 = 0.0097, 0.9 ** 43 = 0.0108
  expect(isBelowShare({ events: 0, trials: 44 }, 0.1, 0.01)).toBe(true)
  expect(isBelowShare({ events: 0, trials: 43 }, 0.1, 0.01)).toBe(false)
  // P(at most 2 of 20 at 0.5) = 211 / 2 ** 20
  expect(isBelowShare({ events: 2, trials: 20 }, 0.5, 212 / 2 ** 20)).toBe(true)
  expect(isBelowShare({ events: 2, trials: 20 }, 0.5, 210 / 2 ** 20)).toBe(false)
})

describe('repeated looks', () => {
  test('are further and further apart, and together take no more than the level', () => {
    const looks = new Looks(0.01, 8)
    const taken: number[] = []
    let sum = 0
    for (let trials = 0; trials < 1_000_000; trials++) {
      const level = looks.take(trials)
      if (level === undefined) continue
      taken.push(trials)
      sum += level
    }
    expect(taken.slice(0, 6)).toEqual([8, 12, 18, 27, 41, 62])
    expect(taken).toHaveLength(29)
    expect(sum).toBeLessThan(0.01)
    expect(sum).toBeGreaterThan(0.0096)
  })

  test('go on where they were stored', () => {
    const looks = new Looks(0.01, 8)
    looks.take(8)
    const again = new Looks(0.01, 8, JSON.parse(JSON.stringify(looks)))
    expect(again.take(11)).toBeUndefined()
    expect(again.take(12)).toBe(looks.take(12))
  })

  test('at equal shares are wrong no more often than the level says, over 4,000 sequences of 1,000 trials', () => {
    const next = random(7)
    const [level, share, sequences] = [0.1, 0.2, 4000]
    let wrong = 0
    for (let i = 0; i < sequences; i++) {
      const looks = new Looks(level, 8)
      let [a, b] = [0, 0]
      for (let trials = 1; trials <= 1000; trials++) {
        if (next() < share) a++
        if (next() < share) b++
        const allowed = looks.take(trials)
        if (allowed === undefined) continue
        if (!isBelow({ events: a, trials }, { events: b, trials }, 0, allowed)) continue
        wrong++
        break
      }
    }
    expect(wrong / sequences).toBeLessThanOrEqual(level)
  })
})
