import { describe, expect, test } from 'vitest'
import { rolloutPlan, type RolloutOptions } from '../../src/rollout/rollout-options.js'

test('a version is all that must be given', () => {
  expect(rolloutPlan({ version: '2' })).toEqual({
    version: '2',
    steps: [5, 25, 100],
    minRequests: 200,
    minStepMs: 60_000,
    guards: { errorRatio: { maxIncrease: 0.01 } },
    significance: 0.01,
  })
})

describe('is refused, and the message says what was expected:', () => {
  const wrong: [what: string, options: object, message: RegExp][] = [
    ['no version', {}, /version is missing/],
    ['an unknown option', { step: [5] }, /unknown option "step". Did you mean "steps"\?/],
    ['no step', { steps: [] }, /steps must be a list of rising numbers/],
    ['falling steps', { steps: [25, 5] }, /steps must be a list of rising numbers/],
    ['a first step without traffic to compare with', { steps: [100] }, /the first below 100/],
    ['a step above 100', { steps: [5, 101] }, /up to 100/],
    ['a step that is no number', { steps: ['5'] }, /rising numbers/],
    ['no guard', { guards: {} }, /guards must have at least one of errorRatio, latency, agreement/],
    ['a guard without its limit', { guards: { latency: {} } }, /guards: latency\.maxRatio is missing/],
    [
      'a limit of no increase',
      { guards: { errorRatio: { maxIncrease: 0 } } },
      /maxIncrease must be a number from 0\.0001/,
    ],
    ['an agreement of 1', { guards: { agreement: { min: 1 } } }, /min must be a number from 0\.5 to 0\.9999/],
    [
      'a ratio in percent',
      { guards: { errorRatio: { maxIncrease: 5 } } },
      /maxIncrease must be a number from/,
    ],
    [
      'a longest time below the shortest',
      { minStepMs: 1000, maxStepMs: 1000 },
      /maxStepMs must be more than minStepMs/,
    ],
    ['a significance of 0', { significance: 0 }, /significance must be a number from/],
  ]
  test.each(wrong)('%s', (what, options, message) => {
    const given = what === 'no version' ? options : { version: '2', ...options }
    expect(() => rolloutPlan(given as RolloutOptions)).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTIONS', message: expect.stringMatching(message) as string }),
    )
  })
})
