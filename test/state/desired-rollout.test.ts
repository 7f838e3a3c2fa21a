import { expect, test } from 'vitest'
import { rolloutPlan } from '../../src/rollout/rollout-options.js'
import { freshState } from '../../src/rollout/rollout-state.js'
import { aborted, begun, kept, takenOver, type DesiredRollout } from '../../src/state/desired-rollout.js'
import { nothingOfModel, type DesiredModel } from '../../src/state/desired-state.js'

const desired = (some: Partial<DesiredModel>): DesiredModel => ({ ...nothingOfModel, ...some })
const rollout: DesiredRollout = {
  id: 'r',
  leader: 'a',
  stable: '1',
  rollout: freshState(rolloutPlan({ version: '2' })),
}
const ended = { ...rollout, rollout: { ...rollout.rollout, phase: 'aborted' as const, reason: 'enough' } }
const why = { at: 'now', actor: 'rollout', reason: 'slow' }

test('one at a time is begun, and the refusal of another names the leader', () => {
  const canary = { version: '2', percent: 5 }
  expect(begun('m', rollout)(desired({}))).toEqual({ current: '1', history: ['1'], rollout, canary })
  expect(() => begun('m', { ...rollout, id: 's' })(desired({ rollout }))).toThrow(
    'model "m" has a rollout of version 2 under way, which the replica a leads: abort it first.',
  )
  expect(begun('m', { ...rollout, id: 's' })(desired({ rollout: ended }))).toMatchObject({
    rollout: { id: 's' },
  })
})

test('the lead is taken over from the one that had it when it was looked at', () => {
  expect(takenOver(rollout, 'b')(desired({ rollout }))).toEqual({ rollout: { ...rollout, leader: 'b' } })
  expect(takenOver(rollout, 'b')(desired({ rollout: { ...rollout, leader: 'c' } }))).toBeUndefined()
  expect(takenOver(rollout, 'b')(desired({ rollout: { ...rollout, id: 's' } }))).toBeUndefined()
  expect(takenOver(rollout, 'b')(desired({ rollout: ended }))).toBeUndefined()
})

test('what the leader has found out is kept with what it does to the traffic', () => {
  const further = { ...rollout, rollout: { ...rollout.rollout, step: 1 } }
  const canary = { version: '2', percent: 25 }
  expect(kept(further, { canary })(desired({ rollout }))).toEqual({ rollout: further, canary })
  const back = kept(further, { canary: null, quarantine: why })(desired({ rollout, canary }))
  expect(back).toEqual({ rollout: further, canary: undefined, quarantined: { 2: why } })
  expect(kept(further, {})(desired({}))).toEqual({ rollout: further }) // of a state that was removed
})

test('who no longer leads changes nothing, but a verdict against the version counts', () => {
  const canary = { version: '2', percent: 25 }
  for (const found of [{ ...rollout, leader: 'b' }, { ...rollout, id: 's' }, ended]) {
    expect(kept(rollout, { canary })(desired({ rollout: found }))).toBeUndefined()
    const verdict = kept(rollout, { canary: null, quarantine: why })(desired({ rollout: found, canary }))
    expect(verdict).toEqual({ canary: undefined, quarantined: { 2: why } })
  }
})

test('it is aborted by anyone, unless it is over or about to be promoted', () => {
  const canary = { version: '2', percent: 5 }
  expect(aborted('m', 'enough')(desired({ rollout, canary }))).toEqual({ rollout: ended, canary: undefined })
  expect(() => aborted('m', 'enough')(desired({ rollout: ended }))).toThrow('no rollout under way')
  const promoting = { ...rollout, rollout: { ...rollout.rollout, phase: 'promoting' as const } }
  expect(() => aborted('m', 'enough')(desired({ rollout: promoting }))).toThrow('is promoting')
})
