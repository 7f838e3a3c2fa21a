import { describe, expect, it } from 'vitest'
import { AutoSession } from '../../src/execution/auto.js'
import type { Place } from '../../src/execution/session.js'
import { ManualClock } from '../manual-clock.js'
import { addInt64 } from '../onnx/models.js'
import { FakeSession, settled } from './fake-session.js'
import { feeds, modelFolder, numbers, openAt } from './support.js'

/** Runs until the session has been judged once more. */
async function runMany(session: AutoSession, rows = 1): Promise<void> {
  for (let i = 0; i < 64; i++) await session.run(feeds(rows, 3))
  await settled()
}

class Places {
  readonly opened: FakeSession[] = []
  readonly clock = new ManualClock()
  costMs = (rows: number) => 0.005 + rows * 0.0005
  /** Fails the next opening. */
  failure: Error | undefined
  /** Holds openings up until it settles. */
  gate: Promise<void> | undefined

  readonly open = async (place: Place): Promise<FakeSession> => {
    await this.gate
    const failure = this.failure
    this.failure = undefined
    if (failure !== undefined) throw failure
    const session = new FakeSession(place, (rows) => this.costMs(rows))
    this.opened.push(session)
    return session
  }

  session(maxRows = 1): Promise<AutoSession> {
    return AutoSession.create(this.open, { maxRows, clock: this.clock })
  }

  get history(): Place[] {
    return this.opened.map(({ placement }) => placement)
  }

  get living(): Place[] {
    return this.opened.filter(({ closed }) => !closed).map(({ placement }) => placement)
  }
}

describe('a session that finds its place', () => {
  it('starts in a thread', async () => {
    const session = await new Places().session()
    expect(session).toMatchObject({ placement: 'thread', slots: 2, width: 1 })
  })

  it('moves inline where its runs are cheap, and closes the thread', async () => {
    const places = new Places()
    const session = await places.session()
    await runMany(session)
    expect(session).toMatchObject({ placement: 'inline', slots: 1, width: 0 })
    expect(places.living).toEqual(['inline'])
    await session.close()
    expect(places.living).toEqual([])
  })

  it('stays where a batch at the row cap would be dear, though a single row is cheap', async () => {
    const places = new Places()
    places.costMs = (rows) => rows * 0.01
    const session = await places.session(32)
    await runMany(session)
    expect(session.placement).toBe('thread')
    places.costMs = () => 0.02
    await runMany(session, 32)
    expect(session.placement).toBe('inline')
  })

  it('stays between the costs of coming and going', async () => {
    const places = new Places()
    places.costMs = () => 0.08
    const session = await places.session()
    await runMany(session)
    expect(session.placement).toBe('thread')
    places.costMs = () => 0.01
    await runMany(session)
    places.costMs = () => 0.08
    await runMany(session)
    expect(session.placement).toBe('inline')
  })

  it('returns to a thread where its runs grow dear, before many of them were made', async () => {
    const places = new Places()
    const session = await places.session()
    await runMany(session)
    places.costMs = () => 5
    for (let i = 0; i < 7; i++) await session.run(feeds(1, 3))
    await settled()
    expect(session.placement).toBe('thread')
    expect(places.living).toEqual(['thread'])
  })

  it('forgets what runs cost at the place before', async () => {
    const places = new Places()
    const session = await places.session()
    for (const times of [58, 6]) {
      for (let i = 0; i < times; i++) await session.run(feeds(1, 3))
      places.costMs = () => 5
    }
    await settled()
    expect(session.placement).toBe('inline')
    // Five dear runs inline and those in the thread would be too many together.
    for (let i = 0; i < 5; i++) await session.run(feeds(1, 3))
    await settled()
    expect(session.placement).toBe('inline')
  })

  it('returns to a thread for a request of more rows than can be afforded', async () => {
    const places = new Places()
    const session = await places.session()
    await runMany(session)
    await session.run(feeds(5, 3))
    await settled()
    expect(session.placement).toBe('inline')
    await session.run(feeds(1000, 3))
    await settled()
    expect(session.placement).toBe('thread')
  })

  it('moves ever more rarely where its costs swing', async () => {
    const places = new Places()
    const session = await places.session()
    for (let second = 0; second < 1000; second++) {
      for (const costMs of [0.001, 5]) {
        places.costMs = () => costMs
        // A judgement that is under way takes some of them, the next is on these alone.
        for (const _ of [1, 2]) await runMany(session)
      }
      places.clock.advance(1000)
    }
    expect(places.history.length).toBeGreaterThan(10)
    expect(places.history.length).toBeLessThan(25)
    expect(places.living).toHaveLength(1)
  })

  it('stays where it is when the other place refuses it, and tries again later', async () => {
    const places = new Places()
    const session = await places.session()
    places.failure = new Error('no memory')
    await runMany(session)
    await runMany(session)
    expect(session.placement).toBe('thread')
    places.clock.advance(1000)
    await runMany(session)
    expect(session.placement).toBe('inline')
  })
})

describe('a move', () => {
  /** A session that is about to move, and what lets it. */
  async function moving() {
    const places = new Places()
    const session = await places.session()
    let go = () => {}
    places.gate = new Promise((resolve) => (go = resolve))
    await runMany(session)
    expect(session.placement).toBe('thread')
    return { places, session, go }
  }

  it('keeps the order of runs, and waits for those that were handed over', async () => {
    const { places, session, go } = await moving()
    const [thread] = places.opened
    if (thread === undefined) throw new Error('no session')
    thread.held = true
    const order: number[] = []
    const run = (i: number) => session.run(feeds(1, 3)).then(() => order.push(i))
    const runs = [run(1), run(2)]
    for (let i = 3; i <= 10; i++) runs.push(run(i))
    go()
    await settled()
    expect(session.placement).toBe('inline')
    runs.push(run(11), run(12))
    await settled()
    expect(order).toEqual([])
    expect(thread.closed).toBe(false)
    // What the thread still answers says nothing of the cost inline.
    places.costMs = () => 5
    thread.answer()
    places.costMs = () => 0.01
    await Promise.all(runs)
    expect(order).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12])
    await settled()
    expect(places.living).toEqual(['inline'])
    expect(session.placement).toBe('inline')
  })

  it('that is under way at the close leaves no session behind', async () => {
    const { places, session, go } = await moving()
    const closed = session.close()
    expect(session.close()).toBe(closed)
    await expect(session.run(feeds(1, 3))).rejects.toMatchObject({ code: 'CLOSED' })
    go()
    await closed
    expect(places.history).toEqual(['thread', 'inline'])
    expect(places.living).toEqual([])
  })

  it('that waits for runs lets them be answered before the close', async () => {
    const { places, session, go } = await moving()
    const [thread] = places.opened
    if (thread === undefined) throw new Error('no session')
    thread.held = true
    const early = session.run(feeds(1, 3))
    go()
    await settled()
    const late = session.run(feeds(1, 3))
    const closed = session.close()
    await settled()
    thread.answer()
    await Promise.all([early, late, closed])
    expect(places.living).toEqual([])
  })

  it('is given up where the thread dies meanwhile', async () => {
    const { places, session, go } = await moving()
    places.opened[0]?.die()
    expect(await session.died).toMatchObject({ code: 'WORKER_DIED' })
    go()
    await settled()
    expect(places.opened[1]?.closed).toBe(true)
    await expect(session.run(feeds(1, 3))).rejects.toMatchObject({ code: 'WORKER_DIED' })
  })
})

describe('real sessions', () => {
  it('answer each run with its own rows across moves to and fro', async () => {
    const artifact = modelFolder()('add', addInt64())
    const session = await AutoSession.create(
      async (place) => {
        const opened = await openAt[place](artifact)
        const run = opened.run.bind(opened)
        // In a thread they seem cheap, inline dear.
        opened.run = async (given) => ({ ...(await run(given)), computeMs: place === 'inline' ? 1 : 0.001 })
        return opened
      },
      { maxRows: 1 },
    )
    const seen = new Set<Place>()
    let asked = 0n
    const settledIn: bigint[] = []
    const client = async (): Promise<void> => {
      while (seen.size < 2 || session.placement === 'inline') {
        const i = asked++
        const data = BigInt64Array.of(i, i, i)
        const { outputs } = await session.run({ x: { dtype: 'int64', shape: [1, 3], data } })
        expect(numbers(outputs)).toEqual([i + 1n, i + 2n, i + 3n])
        settledIn.push(i)
        seen.add(session.placement)
      }
    }
    await Promise.all([client(), client(), client()])
    await session.close()
    expect(settledIn).toEqual(Array.from({ length: Number(asked) }, (_, i) => BigInt(i)))
  })
})
