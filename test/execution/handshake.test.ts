import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { describe, expect, it } from 'vitest'
import { Handshake } from '../../src/execution/handshake.js'
import workerSource from './handshake-partner.js?source'

describe('a handshake', () => {
  it('lets the worker in until the main thread says stop', () => {
    const handshake = new Handshake()
    const worker = new Handshake(handshake.shared)
    expect(worker.enter()).toBe(true)
    worker.leave()
    handshake.stop()
    expect(worker.enter()).toBe(false)
    expect(handshake.waitIdle(0)).toBe(true)
  })

  it('tells that the worker is still inside after the time that was given', () => {
    const handshake = new Handshake()
    new Handshake(handshake.shared).enter()
    handshake.stop()
    expect(handshake.waitIdle(5)).toBe(false)
  })

  it('keeps what the worker holds for the time after it', () => {
    const handshake = new Handshake()
    new Handshake(handshake.shared).hold(2)
    expect(handshake.takeHeld()).toBe(2)
    expect(handshake.takeHeld()).toBe(0)
  })

  it('lets the worker in no more once stop was said and it was idle', async () => {
    const handshakes = Array.from({ length: 10_000 }, () => new Handshake())
    const visits = handshakes.map(() => new Int32Array(new SharedArrayBuffer(4)))
    const worker = new Worker(workerSource, {
      eval: true,
      workerData: {
        handshakes: handshakes.map(({ shared }) => shared),
        witnesses: visits.map(({ buffer }) => buffer),
      },
    })
    const ended = once(worker, 'exit')

    const seen = handshakes.map((handshake, round) => {
      const count = visits[round] ?? new Int32Array(1)
      Atomics.wait(count, 0, 0) // until the worker has come to this one
      handshake.stop()
      return handshake.waitIdle(10_000) ? Atomics.load(count, 0) : 'not idle'
    })
    await ended
    expect(visits.map((count) => Atomics.load(count, 0))).toEqual(seen)
  })
})
