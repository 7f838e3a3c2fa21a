import { expect, test } from 'vitest'
import {
  canaryEnded,
  canaryStarted,
  insteadOf,
  labelled,
  previousOf,
  quarantined,
  released,
  rolledBackTo,
  switchedTo,
  unlabelled,
} from '../../src/state/decisions.js'
import { nothingOfModel, type DesiredModel } from '../../src/state/desired-state.js'

const desired = (some: Partial<DesiredModel>): DesiredModel => ({ ...nothingOfModel, ...some })
const why = { at: 'now', actor: 'ann', reason: 'slow' }
const nothingHere = { current: undefined, previous: undefined }

test('a rollback passes over versions in quarantine, and is pinned', () => {
  const state = desired({ current: '3', history: ['1', '2', '3'], quarantined: { 2: why } })
  expect(previousOf(state)).toBe('1')
  expect(rolledBackTo('1')(state)).toEqual({ current: '1', history: ['1'], pinned: true })
  expect(() => rolledBackTo('2')(state)).toThrow('another replica has switched meanwhile')
})

test('a switch to the canary, and a rollback to it, end the canary', () => {
  const canary = { version: '2', percent: 5 }
  expect(switchedTo('2', '1')(desired({ canary }))).toMatchObject({ current: '2', canary: undefined })
  const back = rolledBackTo('2')(desired({ history: ['2', '3'], current: '3', canary }))
  expect(back).toMatchObject({ current: '2', canary: undefined })
})

test('a canary is decided together with what serves beside it, where that was not', () => {
  const started = canaryStarted('m', { version: '2', percent: 5 }, '1')
  expect(started(desired({}))).toEqual({ current: '1', history: ['1'], canary: { version: '2', percent: 5 } })
  expect(started(desired({ current: '0', history: ['0'] }))).toEqual({ canary: { version: '2', percent: 5 } })
  expect(canaryEnded(desired({}))).toBeUndefined()
})

test('a label that was removed is remembered, since configuration may know it', () => {
  expect(labelled('m', 'a', '1')(desired({ labels: { b: '2' } }))).toEqual({ labels: { a: '1', b: '2' } })
  expect(unlabelled('a')(desired({ labels: { b: '2' } }))).toEqual({ labels: { a: null, b: '2' } })
  expect(() => labelled('m', 'a', '1')(desired({ quarantined: { 1: why } }))).toThrow('in quarantine: slow')
})

test('a quarantine of the version that serves goes back to the last that may serve', () => {
  const state = desired({ current: '3', history: ['1', '2', '3'], quarantined: { 2: why } })
  expect(quarantined('3', why, nothingHere)(state)).toEqual({
    quarantined: { 2: why, 3: why },
    current: '1',
    history: ['1'],
    pinned: true,
  })
})

test('a quarantine of a version that serves here alone goes back to what was decided, else to what served here', () => {
  const here = { current: { name: '2' }, previous: '0' }
  expect(insteadOf(desired({ current: '1', history: ['1'] }), '2', here)).toBe('1')
  expect(insteadOf(desired({}), '2', here)).toBe('0')
  expect(insteadOf(desired({}), '3', here)).toBeUndefined()
  expect(() => insteadOf(desired({}), '2', { ...here, previous: undefined })).toThrow(
    'switch to another first',
  )
})

test('a quarantine ends the canary of its version, and is over once it is released', () => {
  const state = desired({ canary: { version: '2', percent: 5 } })
  expect(quarantined('2', why, nothingHere)(state)).toEqual({ quarantined: { 2: why }, canary: undefined })
  expect(released('2')(desired({ quarantined: { 2: why, 3: why } }))).toEqual({ quarantined: { 3: why } })
  expect(released('2')(desired({}))).toBeUndefined()
})
