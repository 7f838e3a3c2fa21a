import { describe, expect, it } from 'vitest'
import { Batcher } from '../../src/batching/batcher.js'
import type { BatchSource, Turnstile } from '../../src/batching/turnstile.js'
import { Dispatcher } from '../../src/execution/dispatcher.js'

/** A model with batches to run: they are handed over when the dispatcher says, and end when the test does. */
class Model implements BatchSource {
  waiting = 0
  running = 0
  readonly turnstile: Turnstile

  constructor(
    dispatcher: Dispatcher,
    readonly name: string,
    private readonly order: string[],
    { width = 1, slots = Infinity }: { width?: number; slots?: number } = {},
  ) {
    this.slots = slots
    this.turnstile = dispatcher.turnstile(() => width)(this)
  }

  private readonly slots: number

  hasBatch(): boolean {
    return this.waiting > 0 && this.running < this.slots
  }

  handOver(): void {
    this.waiting--
    this.running++
    this.order.push(this.name)
  }

  submit(batches = 1): void {
    this.waiting += batches
    this.turnstile.wake()
  }

  end(computeMs: number): void {
    this.running--
    this.turnstile.finished(computeMs)
  }
}

function setUp(permits = 1) {
  const order: string[] = []
  const dispatcher = new Dispatcher(() => permits)
  const model = (name: string, options?: { width?: number; slots?: number }) =>
    new Model(dispatcher, name, order, options)
  return { order, model }
}

describe('the dispatcher', () => {
  it('hands over what there are permits for, and two batches ahead', () => {
    const { model } = setUp(4)
    const narrow = model('narrow')
    narrow.submit(10)
    expect(narrow.running).toBe(6)

    const wide = setUp(4).model('wide', { width: 4 })
    wide.submit(10)
    expect(wide.running).toBe(3)
    wide.end(1)
    expect(wide.running).toBe(3)
    expect(wide.waiting).toBe(6)
  })

  it('lets a small model pass a backlog of a large one, with its next batch', () => {
    const { order, model } = setUp()
    const large = model('large')
    const small = model('small')
    large.submit(32)
    for (let i = 0; i < 4; i++) large.end(30)
    order.length = 0
    small.submit()
    large.end(30)
    expect(order).toEqual(['small'])
  })

  it('gives models the same time, not the same number of batches', () => {
    const { order, model } = setUp()
    const slow = model('slow')
    const fast = model('fast')
    slow.submit(1000)
    fast.submit(1000)
    const spentMs = { slow: 0, fast: 0 }
    // The batch that has the permit is the oldest of those handed over.
    for (let ended = 0; ended < 400; ended++) {
      const name = order[ended]
      if (name === 'slow') slow.end(20)
      else fast.end(2)
      spentMs[name === 'slow' ? 'slow' : 'fast'] += name === 'slow' ? 20 : 2
    }
    expect(spentMs.slow / spentMs.fast).toBeGreaterThan(0.8)
    expect(spentMs.slow / spentMs.fast).toBeLessThan(1.25)
  })

  it('charges a run for each of its permits', () => {
    const { order, model } = setUp(2)
    const wide = model('wide', { width: 2 })
    const narrow = model('narrow')
    wide.submit(1000)
    narrow.submit(1000)
    const batches = { wide: 0, narrow: 0 }
    for (let ended = 0; ended < 300; ended++) {
      const name = order[ended]
      if (name === 'wide') wide.end(5)
      else narrow.end(5)
      batches[name === 'wide' ? 'wide' : 'narrow']++
    }
    expect(batches.narrow / batches.wide).toBeGreaterThan(1.6)
    expect(batches.narrow / batches.wide).toBeLessThan(2.4)
  })

  it('gives a model that was idle no claim on the time before', () => {
    const { order, model } = setUp()
    const busy = model('busy')
    const rested = model('rested')
    busy.submit(1000)
    for (let i = 0; i < 100; i++) busy.end(10)
    order.length = 0
    rested.submit(1000)
    for (let ended = 0; ended < 40; ended++) {
      // Two batches of the busy one were ahead.
      if (ended < 3 || order[ended - 3] === 'busy') busy.end(10)
      else rested.end(10)
    }
    const rest = order.filter((name) => name === 'rested').length
    expect(rest).toBeGreaterThan(15)
    expect(rest).toBeLessThan(25)
  })

  it('never holds up a session that takes no permit', () => {
    const { model } = setUp()
    model('wide').submit(10)
    const inline = model('inline', { width: 0, slots: 1 })
    inline.submit(3)
    expect(inline.running).toBe(1)
    inline.end(1)
    expect([inline.running, inline.waiting]).toEqual([1, 1])
  })

  it('passes over a model whose session has no slot', () => {
    const { order, model } = setUp()
    const full = model('full', { slots: 1 })
    const free = model('free')
    full.submit(5)
    free.submit(5)
    expect(order).toEqual(['full', 'free', 'free'])
    full.end(1)
    expect(order).toEqual(['full', 'free', 'free', 'full'])
  })

  it('loses no batch, whatever the order of arrival and end', () => {
    const { order, model } = setUp(2)
    const models = [model('a'), model('b', { width: 2 }), model('c', { slots: 1 })]
    const steps = Array.from({ length: 600 }, (_, i) => (i * 7919) % 6)
    for (const step of steps) {
      const chosen = models[step % 3]
      if (step < 3) chosen?.submit()
      else if (chosen !== undefined && chosen.running > 0) chosen.end(step)
    }
    for (let i = 0; models.some(({ running }) => running > 0); i++) {
      const chosen = models[i % 3]
      if (chosen !== undefined && chosen.running > 0) chosen.end(1)
    }
    expect(models.map(({ waiting }) => waiting)).toEqual([0, 0, 0])
    expect(order).toHaveLength(steps.filter((step) => step < 3).length)
  })
})

it('a model whose runs fail has no more turns than one whose runs succeed', async () => {
  const dispatcher = new Dispatcher(() => 1)
  const order: string[] = []
  const texts = {
    rows: () => 1,
    bytes: () => 1,
    rowElements: () => 0,
    signature: () => '',
    concat: (inputs: readonly string[]) => inputs.join(''),
    slice: (input: string) => input,
    sliceResult: (result: string) => result,
    concatResults: (results: readonly string[]) => results.join(''),
  }
  // Runs of both take turns at one core.
  let core = Promise.resolve()
  const batcherOf = (name: string, ends: () => Promise<{ result: string; computeMs: number }>) => {
    const run = async () => {
      const turn = core.then(() => new Promise<void>((resolve) => setTimeout(resolve, 5)))
      core = turn
      order.push(name)
      await turn
      return ends()
    }
    return new Batcher({ slots: 4, width: 1, run }, texts, { turnstile: dispatcher.turnstile(() => 1) })
  }
  const failing = batcherOf('failing', () => Promise.reject(new Error('failed')))
  const whole = batcherOf('whole', () => Promise.resolve({ result: '', computeMs: 5 }))
  const all = Array.from({ length: 20 }, () => [failing.submit(''), whole.submit('')]).flat()
  await Promise.allSettled(all)
  expect(order.slice(0, 20).filter((name) => name === 'whole').length).toBeGreaterThan(5)
})
