import { expect, it } from 'vitest'
import { LoopDelay } from '../../src/health/loop-delay.js'
import { ManualClock } from '../manual-clock.js'

/** A clock whose timers are late, as those of a busy event loop are. */
class LateClock extends ManualClock {
  lateMs = 0

  override setTimer(callback: () => void, delayMs: number) {
    return super.setTimer(callback, delayMs + this.lateMs)
  }
}

function setUp(maxDelayMs = 50) {
  const clock = new LateClock()
  return { clock, delay: new LoopDelay(maxDelayMs, clock) }
}

function tick({ clock, delay }: ReturnType<typeof setUp>, lateMs: number) {
  clock.lateMs = lateMs
  delay.used()
  clock.advance(1000)
}

it('refuses once two timers in a row were too late, and no more once one is in time', () => {
  const watched = setUp()
  const { clock, delay } = watched
  clock.lateMs = 200
  delay.used()
  clock.advance(300)
  expect(delay.refusal).toBeUndefined()
  delay.used()
  clock.advance(300)
  expect(delay.refusal).toMatchObject({ code: 'OVERLOADED', headers: { 'retry-after': '1' } })
  clock.lateMs = 0
  tick(watched, 0)
  expect(delay.refusal).toBeUndefined()
})

it('refuses no longer than the event loop is behind, though nobody asks for anything meanwhile', () => {
  const { clock, delay } = setUp()
  clock.lateMs = 200
  delay.used()
  clock.advance(600)
  expect(delay.refusal).toBeDefined()
  clock.lateMs = 0
  clock.advance(1000)
  expect(delay.refusal).toBeUndefined()
  expect(clock.timers).toBe(0)
})

it('says nothing of a single late timer, long after another', () => {
  const { clock, delay } = setUp()
  delay.used()
  clock.lateMs = 200
  clock.advance(10_000)
  expect(clock.timers).toBe(0)
  delay.used()
  clock.advance(350)
  expect(delay.refusal).toBeUndefined()
})

it('says nothing of a single late timer', () => {
  const watched = setUp()
  for (const lateMs of [500, 0, 500, 0]) {
    tick(watched, lateMs)
    expect(watched.delay.refusal).toBeUndefined()
  }
})

it('leaves no timer once there is nothing to do', () => {
  const { clock, delay } = setUp()
  delay.used()
  clock.advance(10_000)
  expect(clock.timers).toBe(0)
})

it('watches nothing where no delay is too long', () => {
  const { clock, delay } = setUp(0)
  delay.used()
  expect(clock.timers).toBe(0)
})
