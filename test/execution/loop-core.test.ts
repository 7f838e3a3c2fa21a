import { describe, expect, it } from 'vitest'
import type { Layout } from '../../src/execution/layout.js'
import { LoopCore, measureLoopShare } from '../../src/execution/loop-core.js'

const wide: Layout = { placement: 'thread', instances: 1, intraOpThreads: 4 }
const spared: Layout = { placement: 'thread', instances: 1, intraOpThreads: 3 }

/** What is said after five stretches in a layout, each with its share of a busy event loop. */
function judged(core: (share: () => number) => LoopCore, layout: Layout, shares: readonly number[]) {
  let i = 0
  const loopCore = core(() => shares[i++] ?? 0)
  for (let n = 0; n < 4; n++) expect(loopCore.observe(layout)).toBeUndefined()
  return loopCore.observe(layout)
}

const core = (share: () => number) => new LoopCore(spared, wide, share)

describe('the core of the event loop', () => {
  it('is left to it where it is busy nearly all the time', () => {
    expect(judged(core, wide, [0.99, 0.2, 0.95, 0.95, 1])).toEqual({
      to: spared,
      reason: 'the event loop is busy 95 % of the time, and needs a core of its own',
    })
    expect(judged(core, wide, [0.99, 0.2, 0.89, 0.8, 1])).toBeUndefined()
  })

  it('is taken back only once it is idle for much of the time', () => {
    expect(judged(core, spared, [0.6, 0.6, 0.6, 0.6, 0.6])).toBeUndefined()
    expect(judged(core, spared, [0.5, 0.5, 0.5, 1, 1])).toEqual({
      to: wide,
      reason: 'the event loop is busy 50 % of the time, and needs no core of its own',
      isDefeat: true,
    })
  })

  it('is judged anew in another layout', () => {
    const loopCore = core(() => 1)
    for (let i = 0; i < 4; i++) loopCore.observe(wide)
    loopCore.entered()
    expect(loopCore.observe(wide)).toBeUndefined()
  })

  it('is measured from one question to the next', async () => {
    const share = measureLoopShare()
    const until = performance.now() + 30
    while (performance.now() < until);
    await new Promise(setImmediate)
    const busy = share()
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(share()).toBeLessThan(busy)
  })
})
