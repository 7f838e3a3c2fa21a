import { beforeEach, expect, test, vi } from 'vitest'
import { ServingError } from '../../src/errors.js'
import { Rollouts, type RolloutTraffic } from '../../src/rollout/rollouts.js'
import { ManualClock } from '../manual-clock.js'
import { quietLogger } from '../models/quiet-logger.js'

const traffic = {
  canary: vi.fn<RolloutTraffic['canary']>(),
  endCanary: vi.fn<RolloutTraffic['endCanary']>(),
  switchVersion: vi.fn<RolloutTraffic['switchVersion']>(),
  quarantine: vi.fn<RolloutTraffic['quarantine']>(),
}
const onEvent = vi.fn()
const options = { version: '2', minStepMs: 0, minRequests: 100 }
let rollouts: Rollouts

beforeEach(() => {
  vi.resetAllMocks()
  traffic.switchVersion.mockImplementation(async (model, version) => rollouts.switched(model, version))
  rollouts = new Rollouts({ traffic, clock: new ManualClock(), logger: quietLogger(), onEvent })
})

test('a good version takes over, and its own switch does not end its rollout', async () => {
  rollouts.start('m', '1', options)
  for (let i = 0; rollouts.of('m')?.phase === 'running' && i < 100_000; i++) {
    rollouts.observe('m', i % 4 === 0 ? '2' : '1', 5)
  }
  await vi.waitFor(() => expect(rollouts.of('m')).toMatchObject({ phase: 'promoted' }))
  expect(traffic.canary.mock.calls.map(([, { percent }]) => percent)).toEqual([5, 25, 100])
  expect(traffic.switchVersion).toHaveBeenCalledWith('m', '2')
  expect(traffic.endCanary).toHaveBeenCalledWith('m')
  expect(onEvent).toHaveBeenLastCalledWith('m', expect.objectContaining({ event: 'promoted' }))
})

test('a version that fails goes back and is quarantined', () => {
  rollouts.start('m', '1', options)
  const failure = new ServingError('INFERENCE_FAILED', 'no')
  for (let i = 0; i < 100; i++) rollouts.observe('m', '1', 5)
  for (let i = 0; i < 8; i++) rollouts.observe('m', '2', 5, failure)
  expect(rollouts.of('m')).toMatchObject({ phase: 'rolled-back' })
  expect(traffic.quarantine).toHaveBeenCalledWith('m', '2', expect.stringContaining('8 of 8'))
})

test('the mistakes of callers, other versions and other models say nothing about a version', () => {
  rollouts.start('m', '1', options)
  for (const code of ['INVALID_INPUT', 'ABORTED', 'CLOSED'] as const) {
    rollouts.observe('m', '2', 5, new ServingError(code, 'no'))
  }
  rollouts.observe('m', '3', 5)
  rollouts.observe('n', '2', 5)
  rollouts.compared('m', '3', false)
  expect(rollouts.of('m')?.figures).toMatchObject({ candidate: { requests: 0 }, comparisons: 0 })
  rollouts.compared('m', '2', false)
  expect(rollouts.of('m')?.figures).toMatchObject({ comparisons: 1, disagreements: 1 })
})

test('there is one at a time of a model, and another after its end', () => {
  expect(rollouts.of('m')).toBeUndefined()
  expect(() => rollouts.abort('m')).toThrow('no rollout under way')
  expect(() => rollouts.start('m', '2', options)).toThrow('already serves')
  rollouts.start('m', '1', options)
  expect(() => rollouts.start('m', '1', { version: '3' })).toThrow('rollout of version 2 under way')
  expect(rollouts.abort('m', 'enough')).toMatchObject({ phase: 'aborted', reason: 'enough' })
  expect(rollouts.start('m', '1', { version: '3' })).toMatchObject({ phase: 'running', version: '3' })
})

test('a switch to a third version ends it', () => {
  rollouts.start('m', '1', options)
  rollouts.switched('m', '1')
  expect(rollouts.of('m')).toMatchObject({ phase: 'running' })
  rollouts.switched('m', '3')
  expect(rollouts.of('m')).toMatchObject({
    phase: 'aborted',
    reason: 'version 3 was made the one that serves',
  })
})

test('the death of the new version ends it, that of the stable one holds it up', () => {
  rollouts.start('m', '1', options)
  rollouts.died('m', '1', 'killed')
  expect(rollouts.of('m')).toMatchObject({ phase: 'paused' })
  rollouts.isBack('m', '1')
  expect(rollouts.of('m')).toMatchObject({ phase: 'running' })
  rollouts.died('m', '2', 'killed')
  expect(rollouts.of('m')).toMatchObject({ phase: 'rolled-back' })
})

test('goes on from what was stored', () => {
  rollouts.start('m', '1', options)
  for (let i = 0; i < 20; i++) rollouts.observe('m', '1', 5)
  const stored = rollouts.stored('m')
  rollouts.close()
  expect(rollouts.of('m')).toBeUndefined()
  if (stored === undefined) throw new Error('nothing was stored')
  expect(rollouts.resume('m', stored)).toMatchObject({
    phase: 'running',
    figures: { stable: { requests: 20 } },
  })
  expect(traffic.canary).toHaveBeenCalledTimes(2)
})

test('a quarantine of the new version ends it, and of the stable one too', () => {
  rollouts.start('m', '1', options)
  rollouts.quarantined('m', '3', 'slow')
  expect(rollouts.of('m')).toMatchObject({ phase: 'running' })
  rollouts.quarantined('m', '2', 'slow')
  expect(rollouts.of('m')).toMatchObject({ phase: 'rolled-back', reason: 'it was put in quarantine: slow' })
  expect(traffic.quarantine).not.toHaveBeenCalled()
  rollouts.start('m', '1', options)
  rollouts.quarantined('m', '1', 'wrong')
  expect(rollouts.of('m')).toMatchObject({ phase: 'aborted' })
})

test('one that is dropped says no more of its version', async () => {
  let promoted = (_: unknown): void => {}
  traffic.switchVersion.mockReturnValue(new Promise((resolve) => (promoted = resolve)))
  expect(rollouts.drop('m')).toBe(false)
  rollouts.start('m', '1', options)
  for (let i = 0; rollouts.of('m')?.phase === 'running' && i < 100_000; i++) {
    rollouts.observe('m', i % 4 === 0 ? '2' : '1', 5)
  }
  expect(rollouts.drop('m')).toBe(true)
  const told = onEvent.mock.calls.length
  promoted(undefined)
  await new Promise(setImmediate)
  expect(onEvent).toHaveBeenCalledTimes(told)
  expect(traffic.endCanary).not.toHaveBeenCalled()
  expect(rollouts.of('m')).toBeUndefined()
})
