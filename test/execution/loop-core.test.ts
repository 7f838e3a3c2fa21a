import { describe, expect, it } from 'vitest'
import type { Layout } from '../../src/execution/layout.js'
import type { Move } from '../../src/execution/layout-search.js'
import { LoopCore, measureLoopShare } from '../../src/execution/loop-core.js'

const wide: Layout = { placement: 'thread', instances: 1, intraOpThreads: 4 }
const spared: Layout = { placement: 'thread', instances: 1, intraOpThreads: 3 }

class Loop {
  #shares: readonly number[] = []
  #i = 0
  readonly core = new LoopCore(spared, wide, () => this.#shares[this.#i++] ?? 0)

  /** What is said after five stretches in a layout, each with its share of a busy event loop. */
  judged(layout: Layout, shares: readonly number[]): Move | undefined {
    ;[this.#shares, this.#i] = [shares, 0]
    for (let n = 0; n < 4; n++) expect(this.core.observe(layout)).toBeUndefined()
    return this.core.observe(layout)
  }

  /** Is spared its core. */
  spare(): void {
    const move = this.judged(wide, [1, 1, 1, 1, 1])
    if (move !== undefined) this.core.entered(move)
  }
}

describe('the core of the event loop', () => {
  it('is left to it where it is busy nearly all the time', () => {
    const loop = new Loop()
    expect(loop.judged(wide, [0.99, 0.2, 0.95, 0.95, 1])).toEqual({
      to: spared,
      reason: 'the event loop is busy 95 % of the time, and needs a core of its own',
    })
    expect(loop.judged(wide, [0.99, 0.2, 0.89, 0.8, 1])).toBeUndefined()
  })

  it('is taken back only once it is idle for much of the time', () => {
    const loop = new Loop()
    loop.spare()
    expect(loop.core.isSparing).toBe(true)
    expect(loop.judged(spared, [0.6, 0.6, 0.6, 0.6, 0.6])).toBeUndefined()
    const move = loop.judged(spared, [0.5, 0.5, 0.5, 1, 1])
    expect(move).toEqual({
      to: wide,
      reason: 'the event loop is busy 50 % of the time, and needs no core of its own',
    })
    if (move !== undefined) loop.core.entered(move)
    expect(loop.core.isSparing).toBe(false)
  })

  it('is not taken from a session that gets most done beside it', () => {
    const loop = new Loop()
    loop.core.entered({ to: spared, reason: 'a trial' })
    expect(loop.core.isSparing).toBe(false)
    expect(loop.judged(spared, [0, 0, 0, 0, 0])).toBeUndefined()
    expect(loop.judged(spared, [1, 1, 1, 1, 1])).toBeUndefined() // it has it already
  })

  it('is judged anew in another layout', () => {
    const core = new LoopCore(spared, wide, () => 1)
    for (let i = 0; i < 4; i++) core.observe(wide)
    core.entered({ to: wide, reason: '' })
    expect(core.observe(wide)).toBeUndefined()
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
