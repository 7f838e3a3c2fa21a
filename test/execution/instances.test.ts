import { once } from 'node:events'
import type { Worker } from 'node:worker_threads'
import { describe, expect, it } from 'vitest'
import { systemClock } from '../../src/clock.js'
import type { ServingError } from '../../src/errors.js'
import { Instances } from '../../src/execution/instances.js'
import { openInThread } from '../../src/execution/thread.js'
import { ManualClock } from '../manual-clock.js'
import { identityModel } from '../onnx/models.js'
import { FakeSession, settled } from './fake-session.js'
import { feeds, modelFolder, numbers } from './support.js'

/** Instances of sessions that hold their runs until told to answer. */
async function setUp(count = 3, mayRestart = false) {
  const clock = new ManualClock()
  const opened: FakeSession[] = []
  const deaths: ServingError[] = []
  const host: { failure: Error | undefined; gate: Promise<void> | undefined } = {
    failure: undefined,
    gate: undefined,
  }
  const open = async () => {
    await host.gate
    if (host.failure !== undefined) throw host.failure
    const session = new FakeSession()
    session.held = true
    opened.push(session)
    return session
  }
  const onInstanceDied = (reason: ServingError) => deaths.push(reason)
  const told = { opened: 0 }
  const instances = await Instances.create(count, open, {
    clock,
    onInstanceDied,
    mayRestart: () => mayRestart,
    onInstanceOpened: () => told.opened++,
  })
  const at = (i: number): FakeSession => {
    const session = opened[i]
    if (session === undefined) throw new Error(`no session ${i}`)
    return session
  }
  const waiting = () => opened.map((session) => session.waiting)
  return { instances, clock, opened, deaths, told, host, at, waiting }
}

const isPending = (promise: Promise<unknown>) =>
  Promise.race([promise.then(() => false), settled().then(() => true)])

describe('several instances', () => {
  it('are one session with the slots of all', async () => {
    const { instances, opened } = await setUp(3)
    expect(instances).toMatchObject({ slots: 6, width: 1, placement: 'thread', providers: ['cpu'] })
    expect(instances.signature).toBe(opened[0]?.signature)
  })

  it('are opened one after another, and closed again where one of them fails', async () => {
    const opened: FakeSession[] = []
    let opening = 0
    const open = async () => {
      expect(++opening).toBe(1)
      await settled()
      opening--
      if (opened.length === 2) throw new Error('no memory for a third')
      const session = new FakeSession()
      opened.push(session)
      return session
    }
    await expect(Instances.create(3, open, { clock: new ManualClock() })).rejects.toThrow('no memory')
    expect(opened.map(({ closed }) => closed)).toEqual([true, true])
  })

  it('share runs so that the one with the fewest gets the next', async () => {
    const { instances, waiting, at } = await setUp(3)
    const runs = Array.from({ length: 5 }, () => instances.run(feeds(1, 3)))
    expect(waiting()).toEqual([2, 2, 1])
    at(1).answer()
    await settled()
    runs.push(instances.run(feeds(1, 3)), instances.run(feeds(1, 3)))
    expect(waiting()).toEqual([2, 2, 1])
    for (const i of [0, 1, 2]) at(i).answer()
    await Promise.all(runs)
  })
})

describe('an instance that dies', () => {
  it('fails its runs with a retryable error, while the others serve', async () => {
    const { instances, at, deaths } = await setUp(2)
    const [doomed, fine] = [instances.run(feeds(1, 3)), instances.run(feeds(1, 3))]
    at(0).die()
    await expect(doomed).rejects.toMatchObject({ code: 'WORKER_DIED', retryable: true })
    await settled()
    expect(deaths).toHaveLength(1)
    expect(instances.slots).toBe(2)
    const next = instances.run(feeds(1, 3))
    expect(at(1).waiting).toBe(2)
    at(1).answer()
    await Promise.all([fine, next])
    expect(await isPending(instances.died)).toBe(true)
  })

  it('is opened again after a wait that grows until one has lived for a minute', async () => {
    const { instances, at, opened, clock, host } = await setUp(2)
    at(0).die()
    await settled()
    host.failure = new Error('not yet')
    for (const waitMs of [500, 1000, 2000]) {
      clock.advance(waitMs - 1)
      await settled()
      if (waitMs === 2000) host.failure = undefined
      expect(opened).toHaveLength(2)
      clock.advance(1)
      await settled()
    }
    expect(opened).toHaveLength(3)
    expect(instances.slots).toBe(4)

    at(2).held = false
    await instances.run(feeds(1, 3))
    expect(at(2).runs).toBe(1)
    at(2).die()
    await settled()
    clock.advance(3999)
    await settled()
    expect(opened).toHaveLength(3)
    clock.advance(1)
    await settled()
    expect(opened).toHaveLength(4)

    clock.advance(60_000)
    at(3).die()
    await settled()
    clock.advance(500)
    await settled()
    expect(opened).toHaveLength(5)
  })

  it('as the last one ends them all', async () => {
    const { instances, at, clock, opened } = await setUp(2)
    at(0).die()
    await settled()
    expect(await isPending(instances.died)).toBe(true)
    at(1).die()
    expect(await instances.died).toMatchObject({ code: 'WORKER_DIED' })
    await expect(instances.run(feeds(1, 3))).rejects.toMatchObject({ code: 'WORKER_DIED' })
    expect(clock.timers).toBe(0)
    expect(opened).toHaveLength(2)
    await instances.close()
  })

  it('and is being opened again when the last one dies is not kept', async () => {
    const { instances, at, clock, host } = await setUp(2)
    let go = () => {}
    host.gate = new Promise((resolve) => (go = resolve))
    at(0).die()
    await settled()
    clock.advance(500)
    at(1).die()
    await instances.died
    go()
    await settled()
    expect(at(2).closed).toBe(true)
  })
})

describe('the last instance that dies', () => {
  it('is opened again at once where that is allowed, and has no slots until then', async () => {
    const { instances, at, opened, deaths, host, told } = await setUp(1, true)
    let go = () => {}
    host.gate = new Promise((resolve) => (go = resolve))
    const doomed = instances.run(feeds(1, 3))
    at(0).die()
    await expect(doomed).rejects.toMatchObject({ code: 'WORKER_DIED' })
    await settled()
    expect(instances.slots).toBe(0)
    expect(deaths).toHaveLength(1)
    go()
    await settled()
    expect(told.opened).toBe(1)
    expect(instances.slots).toBe(2)
    expect(opened).toHaveLength(2)
    expect(await isPending(instances.died)).toBe(true)
  })

  it('leaves what it had not begun to the one that follows', async () => {
    const { instances, at } = await setUp(1, true)
    const [doomed, whole] = [instances.run(feeds(1, 3)), instances.run(feeds(1, 3))]
    at(0).dieAtWork()
    await expect(doomed).rejects.toMatchObject({ code: 'WORKER_DIED' })
    await settled()
    expect(at(1).waiting).toBe(1)
    at(1).answer()
    expect((await whole).outputs.x?.shape).toEqual([1, 3])
  })

  it('ends them all where it can not be opened again', async () => {
    const { instances, at, host } = await setUp(1, true)
    host.failure = new Error('no memory')
    at(0).dieAtWork()
    expect(await instances.died).toMatchObject({ message: 'no memory' })
    await expect(instances.run(feeds(1, 3))).rejects.toMatchObject({ message: 'no memory' })
  })
})

describe('closing several instances', () => {
  it('closes each once, refuses later runs, and is no death', async () => {
    const { instances, opened, at } = await setUp(2)
    const run = instances.run(feeds(1, 3))
    const closed = instances.close()
    expect(instances.close()).toBe(closed)
    await expect(instances.run(feeds(1, 3))).rejects.toMatchObject({ code: 'CLOSED' })
    at(0).answer()
    await Promise.all([run, closed])
    expect(opened.map((session) => session.closed)).toEqual([true, true])
    expect(await isPending(instances.died)).toBe(true)
  })

  it('gives up what waits to be opened again', async () => {
    const { instances, at, clock } = await setUp(2)
    at(0).die()
    await settled()
    await instances.close()
    expect(clock.timers).toBe(0)
  })

  it('waits for one that is being opened again, and closes it', async () => {
    const { instances, at, clock, host } = await setUp(2)
    let go = () => {}
    host.gate = new Promise((resolve) => (go = resolve))
    at(0).die()
    await settled()
    clock.advance(500)
    const closed = instances.close()
    expect(await isPending(closed)).toBe(true)
    go()
    await closed
    expect(at(2).closed).toBe(true)
  })
})

describe('instances in real threads', () => {
  it('survive the death of one, which comes back', async () => {
    const artifact = modelFolder()('identity', identityModel())
    const workers: Worker[] = []
    const collect = (worker: Worker) => workers.push(worker)
    process.on('worker', collect)
    const instances = await Instances.create(2, () => openInThread(artifact), { clock: systemClock })
    const ended = workers[0] && once(workers[0], 'exit')
    await workers[0]?.terminate()
    await ended
    await settled()
    expect(instances.slots).toBe(2)
    const answers = await Promise.all([1, 2, 3].map(() => instances.run(feeds(1, 3))))
    expect(answers.map(({ outputs }) => numbers(outputs).length)).toEqual([3, 3, 3])
    while (instances.slots < 4) await new Promise((resolve) => setTimeout(resolve, 10))
    expect(workers).toHaveLength(3)
    process.off('worker', collect)
    await instances.close()
    expect(workers.map(({ threadId }) => threadId)).toEqual([-1, -1, -1])
  })
})
