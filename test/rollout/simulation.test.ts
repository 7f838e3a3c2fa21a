import { describe, expect, test } from 'vitest'
import { simulate, type Scenario } from '../../bench/rollouts/simulation.js'

/** Larger levels than the default show in fewer rollouts whether they are kept. */
const options: Scenario['options'] = {
  steps: [25, 50],
  significance: 0.1,
  guards: {
    errorRatio: { maxIncrease: 0.03 },
    latency: { maxRatio: 1.5 },
    agreement: { min: 0.95 },
  },
}
const good = { errorRatio: 0.05, agreement: 0.99 }
const rollouts = 300

/** What a rate may be seen as where it is `significance`, but for one time in 10,000. */
const tolerated = 0.1 + 3.7 * Math.sqrt((0.1 * 0.9) / rollouts)

describe('simulated rollouts', () => {
  test('of a version as good as the stable one are rolled back no more often than promised, and mostly promoted', () => {
    const result = simulate({ stable: good, candidate: good, options }, rollouts, 1)
    expect(result.rolledBack / rollouts).toBeLessThanOrEqual(tolerated)
    expect(result.promoted / rollouts).toBeGreaterThan(0.9)
  })

  test.each([
    ['fails as often more as is not allowed', { ...good, errorRatio: 0.08 }],
    ['is as much slower as is not allowed', { ...good, slowness: 1.5 }],
    ['agrees as little as is not allowed', { ...good, agreement: 0.95 }],
  ])('of a version that %s promote it no more often than promised', (_what, candidate) => {
    const result = simulate({ stable: good, candidate, options, mostRequests: 20_000 }, rollouts, 2)
    expect(result.promoted / rollouts).toBeLessThanOrEqual(tolerated)
  })

  test.each([
    ['fails at every tenth request more', { ...good, errorRatio: 0.15 }, 400],
    ['is three times as slow', { ...good, slowness: 3 }, 20],
    ['disagrees every fifth time', { ...good, agreement: 0.8 }, 60],
  ])('of a version that %s end soon, and never with it', (_what, candidate, most) => {
    const result = simulate({ stable: good, candidate, options }, rollouts, 3)
    expect(result.rolledBack).toBe(rollouts)
    expect(result.untilRolledBack[rollouts >> 1]).toBeLessThan(most)
  })
})
