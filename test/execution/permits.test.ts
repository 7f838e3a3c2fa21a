import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { describe, expect, it } from 'vitest'
import { coreCount, Permits, sharedPermits } from '../../src/execution/permits.js'
import type { Taken, Taking } from './permit-taker.js'
import workerSource from './permit-taker.js?source'

const thisThread = -1

/** Takes permits in a worker, again and again. */
class Taker {
  /** Fulfilled when it is about to take the first. */
  readonly ready: Promise<unknown>
  readonly taken: Promise<Taken>

  constructor(permits: Permits, how: Omit<Taking, 'permits'>) {
    const workerData: Taking = { permits: permits.shared, ...how }
    const worker = new Worker(workerSource, { eval: true, workerData })
    this.ready = once(worker, 'message')
    this.taken = new Promise((resolve, reject) => {
      worker.on('message', (message: Taken | 'ready') => {
        if (message !== 'ready') resolve(message)
      })
      worker.once('error', reject)
    })
  }
}

describe('permits', () => {
  it('are as many as the cores of the process, and the same for all copies of the package', () => {
    expect(sharedPermits().total).toBe(coreCount())
    expect(sharedPermits().shared).toBe(sharedPermits().shared)
  })

  it('are counted where they are taken and returned', () => {
    const permits = Permits.of(3)
    permits.acquire(2, thisThread)
    expect(permits.available).toBe(1)
    permits.acquire(1, thisThread)
    permits.release(3)
    expect(permits).toMatchObject({ available: 3, total: 3 })
  })

  it.each([
    { total: 1, counts: [1, 1, 1] },
    { total: 2, counts: [1, 1, 2, 2] },
    { total: 3, counts: [1, 2, 3, 1] },
  ])('never exceed their total of $total where workers take $counts', async ({ total, counts }) => {
    const permits = Permits.of(total)
    const ledger = new SharedArrayBuffer(8)
    const takers = counts.map((count) => new Taker(permits, { count, rounds: 2000, ledger }))
    const taken = await Promise.all(takers.map((taker) => taker.taken))
    expect(Math.max(...taken.map(({ most }) => most))).toBeLessThanOrEqual(total)
    expect(permits.available).toBe(total)
  })

  it('go to who waits for several before who comes later for one', async () => {
    const permits = Permits.of(2)
    const ledger = new SharedArrayBuffer(8)
    permits.acquire(1, thisThread)
    const wide = new Taker(permits, { count: 2, rounds: 1, ledger })
    const turn = new Int32Array(permits.shared)
    while (Atomics.load(turn, 2) === 0) await new Promise((resolve) => setTimeout(resolve, 1))
    const narrow = new Taker(permits, { count: 1, rounds: 1, ledger })
    await narrow.ready
    permits.release(1)
    expect((await wide.taken).before).toBe(0)
    expect((await narrow.taken).before).toBe(1)
  })

  it('go on where a worker ends that waits for its turn to take them', async () => {
    const permits = Permits.of(1)
    const ledger = new SharedArrayBuffer(8)
    const ended = 12
    new Int32Array(permits.shared)[2] = ended
    const taker = new Taker(permits, { count: 1, rounds: 1, ledger })
    permits.endTurn(ended)
    expect((await taker.taken).most).toBe(1)
  })
})

describe('permits for a thread that must not be blocked', () => {
  it('are taken once there are enough, in the order they were asked for', async () => {
    const permits = Permits.of(2)
    permits.acquire(2, thisThread)
    const order: string[] = []
    const wide = permits.take(2).then((taken) => order.push(`wide ${taken}`))
    const narrow = permits.take(1).then((taken) => order.push(`narrow ${taken}`))
    permits.release(1)
    await new Promise((resolve) => setTimeout(resolve, 20))
    expect(order).toEqual([])
    permits.release(1)
    await wide
    expect(order).toEqual(['wide 2'])
    permits.release(2)
    await narrow
    expect(permits.available).toBe(1)
  })

  it('are as many as there are, where there are fewer', async () => {
    const permits = Permits.of(2)
    expect(await permits.take(5)).toBe(2)
  })

  it('never exceed their total beside workers that block for theirs', async () => {
    const permits = Permits.of(2)
    const ledger = new SharedArrayBuffer(8)
    const words = new Int32Array(ledger)
    const takers = [1, 2].map((count) => new Taker(permits, { count, rounds: 2000, ledger }))
    let most = 0
    const taking = [1, 2, 1].map(async (count) => {
      for (let round = 0; round < 200; round++) {
        const own = await permits.take(count)
        most = Math.max(most, Atomics.add(words, 0, own) + own)
        Atomics.sub(words, 0, own)
        permits.release(own)
      }
    })
    const taken = await Promise.all(takers.map((taker) => taker.taken))
    await Promise.all(taking)
    expect(Math.max(most, ...taken.map((one) => one.most))).toBeLessThanOrEqual(2)
    expect(permits.available).toBe(2)
  })
})

describe('a change of their total', () => {
  it('counts for all who share them, and leaves out those that are out', () => {
    const permits = Permits.of(4)
    permits.acquire(3, thisThread)
    permits.resize(2)
    expect(permits).toMatchObject({ total: 2, available: -1 })
    permits.release(3)
    expect(new Permits(permits.shared)).toMatchObject({ total: 2, available: 2 })
    permits.resize(5)
    expect(permits).toMatchObject({ total: 5, available: 5 })
  })

  it('keeps nobody waiting for more than there are', () => {
    const permits = Permits.of(2)
    expect(permits.acquire(5, thisThread)).toBe(2)
    permits.release(2)
    expect(permits.acquire(1, thisThread)).toBe(1)
    permits.release(1)
  })

  it.each([
    { total: 1, taken: 1 },
    { total: 4, taken: 3 },
  ])('to $total is heeded by who waits for them already', async ({ total, taken }) => {
    const permits = Permits.of(2)
    permits.acquire(1, thisThread)
    const taker = new Taker(permits, { count: 3, rounds: 1, ledger: new SharedArrayBuffer(8) })
    const turn = new Int32Array(permits.shared)
    while (Atomics.load(turn, 2) === 0) await new Promise((resolve) => setTimeout(resolve, 1))
    permits.resize(total)
    if (total === 1) permits.release(1)
    expect((await taker.taken).most).toBe(taken)
    expect(permits.available).toBe(total === 1 ? 1 : 3)
  })

  it('while workers take and return them loses none', async () => {
    const permits = Permits.of(2)
    const ledger = new SharedArrayBuffer(8)
    const takers = [1, 2, 3].map((count) => new Taker(permits, { count, rounds: 5000, ledger }))
    await Promise.all(takers.map(({ ready }) => ready))
    for (let i = 0; i < 2000; i++) permits.resize(1 + (i % 3))
    await Promise.all(takers.map(({ taken }) => taken))
    expect(permits.available).toBe(permits.total)
  })
})
