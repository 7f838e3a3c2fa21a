import { describe, expect, test, vi } from 'vitest'
import type { RolloutOptions } from '../../src/rollout/rollout-options.js'
import { Rollout } from '../../src/rollout/rollout.js'
import { freshState } from '../../src/rollout/rollout-state.js'
import { statusOf } from '../../src/rollout/rollout-status.js'
import { FakeHost } from './fake-host.js'

const options: RolloutOptions = { version: '2', minRequests: 100, minStepMs: 0 }

interface Traffic {
  readonly failEvery?: number
  readonly latencyMs?: number
}

/** Requests of the new version, with as many of the stable one as the share leaves for it, none of which fails. */
function serve(
  rollout: Rollout,
  requests: number,
  { failEvery = Infinity, latencyMs = 10 }: Traffic = {},
): number {
  const { step } = rollout.status
  for (let i = 1; i <= requests; i++) {
    for (let n = Math.round(100 / rollout.percent) - 1; n > 0; n--) {
      rollout.observe('stable', { failed: false, latencyMs: 10 })
    }
    rollout.observe('candidate', { failed: i % failEvery === 0, latencyMs })
    if (rollout.status.step !== step || rollout.status.phase !== 'running') return i
  }
  return requests
}

describe('a version without failures', () => {
  test('goes through every step, and is promoted', async () => {
    const host = new FakeHost()
    const rollout = Rollout.start(options, host)
    while (rollout.status.phase === 'running') serve(rollout, 1000)
    await vi.waitFor(() => expect(rollout.isOver).toBe(true))
    expect(rollout.status).toMatchObject({ phase: 'promoted', step: 3, percent: 100 })
    expect(host.calls).toEqual(['share 5', 'share 25', 'share 100', 'promote', 'end share'])
    expect(host.events.map(({ event }) => event)).toEqual(['step', 'step', 'step', 'promoting', 'promoted'])
    expect(host.clock.timers).toBe(0)
  })

  test('passes no step before it is sure that it fails no more than allowed', () => {
    const rollout = Rollout.start({ ...options, minRequests: 10 }, new FakeHost())
    // Without a failure in n requests, a share of 1 % has a probability of 0.99 ** n.
    expect(serve(rollout, 10_000)).toBeGreaterThan(Math.log(0.01) / Math.log(0.99))
    expect(rollout.status.step).toBe(2)
  })

  test('passes no step before it had its requests', () => {
    const rollout = Rollout.start({ ...options, minRequests: 5000 }, new FakeHost())
    expect(serve(rollout, 10_000)).toBe(5000)
  })

  test('passes no step before its time, and then without another request', () => {
    const host = new FakeHost()
    const rollout = Rollout.start({ ...options, minStepMs: 60_000 }, host)
    serve(rollout, 5000)
    expect(rollout.status).toMatchObject({ step: 1, passed: ['errorRatio'] })
    host.clock.advance(59_999)
    expect(rollout.status.step).toBe(1)
    host.clock.advance(1)
    expect(rollout.status.step).toBe(2)
  })
})

describe('a version that is too bad', () => {
  test('goes back at once where it always fails: first the traffic, then the quarantine', () => {
    const host = new FakeHost()
    const rollout = Rollout.start(options, host)
    expect(serve(rollout, 100, { failEvery: 1 })).toBe(8)
    expect(host.calls).toEqual(['share 5', 'end share', 'quarantine'])
    expect(host.events.at(-1)).toMatchObject({
      event: 'rolled-back',
      phase: 'rolled-back',
      guard: 'errorRatio',
      step: 1,
      reason: '8 of 8 (100 %) requests failed, of the stable version 0 of 152 (0 %); allowed are 1 % more',
      figures: { candidate: { requests: 8, failures: 8 }, stable: { requests: 152, failures: 0 } },
    })
  })

  test('is not judged by one failure, nor by two', () => {
    const rollout = Rollout.start(options, new FakeHost())
    for (let i = 0; i < 2; i++) rollout.observe('candidate', { failed: true, latencyMs: 0 })
    serve(rollout, 60)
    expect(rollout.status.phase).toBe('running')
  })

  test('goes back where it is three times as slow', () => {
    const host = new FakeHost()
    const rollout = Rollout.start({ ...options, guards: { latency: { maxRatio: 1.5 } } }, host)
    expect(serve(rollout, 100, { latencyMs: 30 })).toBe(8)
    expect(host.events.at(-1)).toMatchObject({ event: 'rolled-back', guard: 'latency' })
    expect(rollout.status.reason).toMatch(/95 % of 8 requests took up to 30\.\d ms, of 152 .* up to 10 ms/)
  })

  test('goes back where it disagrees', () => {
    const host = new FakeHost()
    const rollout = Rollout.start({ ...options, guards: { agreement: { min: 0.98 } } }, host)
    for (let i = 0; i < 8; i++) rollout.compared(i % 2 === 0)
    expect(host.events.at(-1)).toMatchObject({
      event: 'rolled-back',
      guard: 'agreement',
      reason: "4 of 8 (50 %) answers differed from the stable version's; allowed are 2 %",
    })
  })

  test('goes back in the last step too, compared with what the stable version did in the one before', () => {
    const rollout = Rollout.start(options, new FakeHost())
    while (rollout.percent < 100) serve(rollout, 1000)
    expect(rollout.status.figures.stable.requests).toBeGreaterThan(0)
    serve(rollout, 1000, { failEvery: 2 })
    expect(rollout.status).toMatchObject({ phase: 'rolled-back', step: 3 })
  })

  test('goes back where it dies, whatever was seen until then', () => {
    const host = new FakeHost()
    const rollout = Rollout.start(options, host)
    rollout.died('candidate', 'its process was killed')
    expect(rollout.status).toMatchObject({
      phase: 'rolled-back',
      reason: 'it can no longer serve: its process was killed',
    })
    expect(host.calls).toEqual(['share 5', 'end share', 'quarantine'])
  })

  test('goes back, and fails no request, where the host fails at everything', () => {
    const host = new FakeHost()
    const rollout = Rollout.start(options, host)
    const broken = () => {
      throw new Error('broken')
    }
    Object.assign(host, { endShare: broken, quarantine: broken, onEvent: broken })
    expect(() => serve(rollout, 100, { failEvery: 1 })).not.toThrow()
    expect(rollout.status.phase).toBe('rolled-back')
  })
})

test('what is undecided after the longest time goes back, without a quarantine', () => {
  const host = new FakeHost()
  const rollout = Rollout.start({ ...options, maxStepMs: 5000 }, host)
  serve(rollout, 50)
  host.clock.advance(5000)
  expect(host.calls).toEqual(['share 5', 'end share'])
  expect(rollout.status).toMatchObject({ phase: 'expired' })
  expect(rollout.status.reason).toMatch(/^undecided after 5000 ms and 50 requests: 0 of 50/)
})

test('an operator ends it, once, and the version is not quarantined', () => {
  const host = new FakeHost()
  const rollout = Rollout.start(options, host)
  rollout.abort('not today')
  expect(rollout.status).toMatchObject({ phase: 'aborted', reason: 'not today' })
  expect(host.calls).toEqual(['share 5', 'end share'])
  expect(() => rollout.abort()).toThrow(expect.objectContaining({ code: 'CONFLICT' }))
  serve(rollout, 100, { failEvery: 1 })
  expect(rollout.status.figures.candidate.requests).toBe(0)
})

test('while the stable version is gone nothing is judged, and no time passes', () => {
  const host = new FakeHost()
  const rollout = Rollout.start({ ...options, minStepMs: 1000, maxStepMs: 2000 }, host)
  host.clock.advance(500)
  rollout.died('stable', 'its file is gone')
  serve(rollout, 100, { failEvery: 1 })
  host.clock.advance(10_000)
  expect(rollout.status).toMatchObject({ phase: 'paused', figures: { candidate: { requests: 0 } } })
  rollout.stableIsBack()
  expect(rollout.toJSON().elapsedMs).toBe(500)
  expect(host.events.map(({ event }) => event)).toEqual(['step', 'paused', 'resumed'])
  host.clock.advance(1500)
  expect(rollout.status.phase).toBe('expired')
})

test('a version that can not become the one that serves goes back, with the reason', async () => {
  const host = new FakeHost()
  host.promotion = Promise.reject(new Error('it does not load'))
  const rollout = Rollout.start(options, host)
  while (rollout.status.phase === 'running') serve(rollout, 1000)
  expect(() => rollout.abort()).toThrow(expect.objectContaining({ code: 'CONFLICT' }))
  await vi.waitFor(() => expect(rollout.isOver).toBe(true))
  expect(rollout.status).toMatchObject({ phase: 'failed', reason: 'it does not load' })
  expect(host.calls.slice(-2)).toEqual(['promote', 'end share'])
})

test('a share that the host refuses is the error of the start, and later the end of the rollout', () => {
  const host = new FakeHost()
  const refuse = () => {
    throw new Error('not loaded')
  }
  expect(() => Rollout.start(options, Object.assign(new FakeHost(), { setShare: refuse }))).toThrow(
    'not loaded',
  )
  const rollout = Rollout.start(options, host)
  Object.assign(host, { setShare: refuse })
  serve(rollout, 10_000)
  expect(rollout.status).toMatchObject({ phase: 'failed', reason: 'not loaded' })
})

describe('a rollout that was stored', () => {
  const stored = (rollout: Rollout): unknown => JSON.parse(JSON.stringify(rollout))

  test('goes on in another process, and decides as if it had never stopped', () => {
    const all = { errorRatio: { maxIncrease: 0.01 }, latency: { maxRatio: 1.5 } }
    const [one, other] = [new FakeHost(), new FakeHost()]
    const whole = Rollout.start({ ...options, guards: all }, one)
    let parts = Rollout.start({ ...options, guards: all }, other)
    for (let i = 0; i < 400; i++) {
      for (const rollout of [whole, parts]) serve(rollout, 7, { failEvery: 7, latencyMs: 11 })
      if (i % 10 === 0) {
        parts.close()
        parts = Rollout.resume(stored(parts), other)
      }
    }
    expect(parts.status).toEqual(whole.status)
    expect(whole.status.phase).toBe('rolled-back')
  })

  test('has its share again, and counts only the time in which it ran', () => {
    const host = new FakeHost()
    const rollout = Rollout.start({ ...options, maxStepMs: 5000 }, host)
    host.clock.advance(3000)
    const state = stored(rollout)
    rollout.close()
    host.clock.advance(60_000)
    expect(rollout.status.phase).toBe('running')

    const next = new FakeHost()
    const resumed = Rollout.resume(state, next)
    expect(next.calls).toEqual(['share 5'])
    next.clock.advance(1999)
    expect(resumed.status.phase).toBe('running')
    next.clock.advance(1)
    expect(resumed.status.phase).toBe('expired')
  })

  test('is promoted where it was about to be', async () => {
    const rollout = Rollout.start(
      options,
      Object.assign(new FakeHost(), { promotion: new Promise(() => {}) }),
    )
    while (rollout.status.phase === 'running') serve(rollout, 1000)
    const host = new FakeHost()
    const resumed = Rollout.resume(stored(rollout), host)
    await vi.waitFor(() => expect(resumed.status.phase).toBe('promoted'))
    expect(host.calls).toEqual(['share 100', 'promote', 'end share'])
  })

  test('stands as it stood, for those who only read it', () => {
    const all = { errorRatio: { maxIncrease: 0.01 }, latency: { maxRatio: 1.5 } }
    const rollout = Rollout.start({ ...options, guards: all }, new FakeHost())
    expect(statusOf(freshState(rollout.plan))).toEqual(rollout.status)
    for (let i = 0; i < 200; i++) serve(rollout, 20)
    expect(statusOf(rollout.toJSON())).toEqual(rollout.status)
    rollout.abort('enough')
    expect(statusOf(rollout.toJSON())).toEqual(rollout.status)
  })

  test('stays over where it was, and paused where it was', () => {
    const rollout = Rollout.start(options, new FakeHost())
    rollout.died('stable', 'gone')
    const paused = new FakeHost()
    expect(Rollout.resume(stored(rollout), paused).status.phase).toBe('paused')
    expect(paused.clock.timers).toBe(0)
    rollout.abort()
    const host = new FakeHost()
    expect(Rollout.resume(stored(rollout), host).status).toEqual(rollout.status)
    expect(host.calls).toEqual([])
  })

  test.each([
    [{ format: 2 }, /format must be 1/],
    [{ phase: 'lost' }, /phase must be one of/],
    [{ step: 3 }, /there is no step 4/],
    [{ candidate: { requests: 1 } }, /candidate\.failures is missing/],
    [{ guards: { errorRatio: {} } }, /guards\.errorRatio\.breach is missing/],
  ])('is refused with a reason where it holds %j', (wrong, message) => {
    const state = { ...(stored(Rollout.start(options, new FakeHost())) as object), ...wrong }
    expect(() => Rollout.resume(state, new FakeHost())).toThrow(
      expect.objectContaining({ code: 'INVALID_CONFIG', message: expect.stringMatching(message) as string }),
    )
  })
})
