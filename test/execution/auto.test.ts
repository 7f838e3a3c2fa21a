import { describe, expect, it } from 'vitest'
import { AutoSession } from '../../src/execution/auto.js'
import { Instances } from '../../src/execution/instances.js'
import { type Clock, systemClock } from '../../src/clock.js'
import {
  layoutBesideLoop,
  threadLayouts,
  type Layout,
  type LearnedLayout,
} from '../../src/execution/layout.js'
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

  readonly open = async ({ placement }: Layout): Promise<FakeSession> => {
    await this.gate
    const failure = this.failure
    this.failure = undefined
    if (failure !== undefined) throw failure
    const session = new FakeSession(placement, (rows) => this.costMs(rows))
    this.opened.push(session)
    return session
  }

  session(): Promise<AutoSession> {
    const layouts = threadLayouts(1, 1)
    return AutoSession.create(this.open, { layouts, mayInline: true, cores: 1, clock: this.clock })
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

  it('goes by the batches that come: it leaves once they have grown dear', async () => {
    const places = new Places()
    places.costMs = (rows) => (rows < 20 ? 0.02 : 0.3)
    const session = await places.session()
    await runMany(session)
    expect(session.placement).toBe('inline')
    for (const rows of [2, 4, 8, 16]) for (let i = 0; i < 3; i++) await session.run(feeds(rows, 3))
    await settled()
    expect(session.placement).toBe('inline')
    for (let i = 0; i < 7; i++) await session.run(feeds(20, 3))
    await settled()
    expect(session.placement).toBe('thread')
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
    expect(places.history.length).toBeLessThan(40) // lone runs open another inline now and then
    await session.close()
    expect(places.living).toEqual([])
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

  it('answers short runs that come alone inline, beside its thread, and gives both back', async () => {
    const places = new Places()
    places.costMs = () => 0.3
    const session = await places.session()
    for (const _ of [1, 2, 3]) await runMany(session)
    expect(session.placement).toBe('thread')
    expect(places.living).toEqual(['thread', 'inline'])
    const [thread, inline] = places.opened.map(({ runs }) => runs)
    expect(inline).toBeGreaterThan(50)
    await session.run(feeds(2, 3))
    expect(places.opened.map(({ runs }) => runs)).toEqual([(thread ?? 0) + 1, inline])
    await session.close()
    expect(places.living).toEqual([])
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

/** A session on two cores, whose layouts finish a run in so many milliseconds while they are saturated. */
class Cores {
  readonly clock = new ManualClock()
  readonly opened: FakeSession[] = []
  readonly messages: string[] = []
  readonly #intervalMs = new Map<FakeSession, number>()
  failure: Error | undefined
  #session: AutoSession | undefined

  /** @param singleMs of one session of one thread. Default: the other core gains all that it can */
  constructor(
    private readonly wideMs: number,
    private readonly parallelMs: number,
    private readonly singleMs: number = 2 * wideMs,
  ) {}

  /** The share of time in which the event loop is busy. */
  loopShare = 0.5

  readonly #open = async ({ placement, instances, intraOpThreads }: Layout): Promise<FakeSession> => {
    const { failure } = this
    this.failure = undefined
    if (failure !== undefined) throw failure
    const session = new FakeSession(placement, undefined, instances)
    session.held = true
    this.opened.push(session)
    const oneMs = intraOpThreads === 1 ? this.singleMs : this.wideMs
    this.#intervalMs.set(session, instances === 1 ? oneMs : this.parallelMs)
    return session
  }

  async start(learned?: LearnedLayout): Promise<AutoSession> {
    this.#session = await AutoSession.create(this.#open, {
      layouts: threadLayouts(2, 2),
      spared: layoutBesideLoop(2),
      loopShare: () => this.loopShare,
      mayInline: false,
      cores: 2,
      learned,
      onMoved: (message) => this.messages.push(message),
      clock: this.clock,
    })
    return this.#session
  }

  /** Runs one after another with so many under way. */
  async load(runs: number, concurrency = 4): Promise<void> {
    let started = 0
    const answers: Promise<unknown>[] = []
    for (let ended = 0; ended < runs; ended++) {
      while (started < runs && started < ended + concurrency) {
        started++
        if (this.#session !== undefined) answers.push(this.#session.run(feeds(1, 3)))
      }
      // Those of a session that is left come first.
      const serving = this.opened.find(({ waiting }) => waiting > 0)
      if (serving !== undefined) this.clock.advance(this.#intervalMs.get(serving) ?? 0)
      serving?.answer(1)
      await settled()
    }
    await Promise.all(answers)
  }

  get living(): number[] {
    return this.opened.filter(({ closed }) => !closed).map(({ instances }) => instances)
  }
}

/** Enough for a warm-up and five stretches. */
const judgedRuns = 6 * 16 + 4

describe('a session under load', () => {
  it('moves to a session a core where that gets more done, and says so', async () => {
    const cores = new Cores(20, 16)
    const session = await cores.start()
    expect(session.learned).toBeUndefined()
    await cores.load(judgedRuns)
    expect(session).toMatchObject({ instances: 2, slots: 4 })
    await cores.load(judgedRuns)
    expect(session.instances).toBe(2)
    expect(cores.living).toEqual([2])
    expect(cores.messages).toEqual([
      'moves to 2 sessions of 1 thread: a trial, since 1 session of 2 threads is saturated at 50 rows/s',
      'stays with 2 sessions of 1 thread: it gives 62.5 rows/s against 50 rows/s of 1 session of 2 threads',
    ])
    await session.close()
    expect(cores.living).toEqual([])
    expect(cores.clock.timers).toBe(0)
  })

  it('leaves a core to the event loop while that is busy all the time', async () => {
    const cores = new Cores(20, 16)
    cores.loopShare = 1
    const session = await cores.start()
    await cores.load(judgedRuns)
    cores.loopShare = 0.7
    await cores.load(2 * judgedRuns)
    expect(cores.messages).toEqual([
      'moves to 1 session of 1 thread: the event loop is busy 100 % of the time, and needs a core of its own',
    ])
    cores.loopShare = 0.3
    await cores.load(2 * judgedRuns)
    expect(cores.messages.slice(1)).toEqual([
      'moves to 1 session of 2 threads: the event loop is busy 30 % of the time, and needs no core of its own',
    ])
    expect(cores.opened).toHaveLength(3)
    await session.close()
    expect(cores.living).toEqual([])
  })

  it('stays with one thread where a second gains nothing, and leaves the core to others', async () => {
    const cores = new Cores(20, 20, 20)
    const session = await cores.start()
    await cores.load(5 * judgedRuns)
    expect(cores.messages).toContain(
      'stays with 1 session of 1 thread: it gives 50 rows/s against 50 rows/s of 1 session of 2 threads',
    )
    await session.close()
  })

  it('returns where it gets no more done, and tries again ever later', async () => {
    const cores = new Cores(200, 200)
    const session = await cores.start()
    await cores.load(2 * judgedRuns)
    expect(session.instances).toBe(1)
    expect(cores.opened).toHaveLength(3)
    // An hour of load: the other is tried as well, and the better of both again after 1, 2, 4, 8 and 16 minutes.
    await cores.load((3600 * 1000) / 200)
    expect(cores.opened.length).toBe(5 + 2 * 5)
    expect(cores.living).toEqual([1])
    await session.close()
  })

  it('stays in one session where requests come one by one', async () => {
    const cores = new Cores(20, 10)
    const session = await cores.start()
    await cores.load(1000, 1)
    expect(session.instances).toBe(1)
    expect(cores.opened).toHaveLength(1)
  })

  it('gives the memory back after ten seconds with little to do, while idle too', async () => {
    const cores = new Cores(20, 10)
    const session = await cores.start()
    await cores.load(2 * judgedRuns)
    expect(session.instances).toBe(2)
    cores.clock.advance(9_000)
    await settled()
    expect(session.instances).toBe(2)
    cores.clock.advance(4_000)
    await settled()
    expect(session.instances).toBe(1)
    expect(cores.living).toEqual([1])
    expect(cores.clock.timers).toBe(0)
    expect(cores.messages.at(-1)).toMatch(/^moves to 1 session of 2 threads: .* had little to do for 10 s$/)
  })

  it('keeps its sessions while they are needed', async () => {
    const cores = new Cores(20, 10)
    const session = await cores.start()
    await cores.load(judgedRuns)
    await cores.load(20_000, 2)
    expect(session.instances).toBe(2)
    expect(cores.opened).toHaveLength(2 + 2 * 3) // one of one thread was tried beside, three times in as many minutes
    await session.close()
  })

  it('serves on where the sessions can not be opened, and tries again later', async () => {
    const cores = new Cores(20, 10)
    const session = await cores.start()
    cores.failure = new Error('no memory')
    await cores.load(2 * judgedRuns)
    expect(session.instances).toBe(1)
    cores.clock.advance(60_000)
    await cores.load(judgedRuns)
    expect(session.instances).toBe(2)
    await session.close()
  })
})

describe('what a session has learnt', () => {
  it('is plain JSON, with which the next one begins', async () => {
    const cores = new Cores(20, 16)
    const session = await cores.start()
    await cores.load(2 * judgedRuns)
    const learned = JSON.parse(JSON.stringify(session.learned)) as LearnedLayout
    expect(learned).toEqual({
      cores: 2,
      layout: { placement: 'thread', instances: 2, intraOpThreads: 1 },
      measured: [
        { placement: 'thread', instances: 1, intraOpThreads: 2, rowsPerMs: 0.05 },
        { placement: 'thread', instances: 2, intraOpThreads: 1, rowsPerMs: 0.0625 },
      ],
    })
    await session.close()

    const again = new Cores(20, 16)
    const next = await again.start(learned)
    expect(next).toMatchObject({ instances: 2, learned })
    expect(again.opened).toHaveLength(1)
    await next.close()
    const elsewhere = await new Cores(20, 16).start({ ...learned, cores: 4 })
    expect(elsewhere).toMatchObject({ instances: 1, learned: undefined })
    await elsewhere.close()
  })

  it('spares the next one a trial that was lost, for a while', async () => {
    const cores = new Cores(20, 20)
    const session = await cores.start()
    await cores.load(5 * judgedRuns)
    const { learned } = session
    expect(learned?.layout.instances).toBe(1)
    await session.close()

    const later = new Cores(20, 10)
    const next = await later.start(learned)
    await later.load(2 * judgedRuns)
    expect(later.opened).toHaveLength(1)
    later.clock.advance(60_000)
    await later.load(judgedRuns)
    expect(next.instances).toBe(2)
    await next.close()
  })

  it('may be that it runs inline', async () => {
    const places = new Places()
    const session = await places.session()
    await runMany(session)
    const { learned } = session
    expect(learned?.layout.placement).toBe('inline')
    await session.close()
    const layouts = threadLayouts(1, 1)
    const open = async ({ placement }: Layout) => new FakeSession(placement)
    const options = { layouts, cores: 1, learned }
    const next = await AutoSession.create(open, { ...options, mayInline: true })
    expect(next.placement).toBe('inline')
    const forbidden = await AutoSession.create(open, { ...options, mayInline: false })
    expect(forbidden.placement).toBe('thread')
  })
})

describe('real sessions', () => {
  it('answer each run with its own rows while one becomes two, and two one', async () => {
    const artifact = modelFolder()('add', addInt64())
    // Ten times as fast, so that stretches are short.
    const clock: Clock = { ...systemClock, now: () => performance.now() * 10 }
    const moves: string[] = []
    const session = await AutoSession.create(
      async ({ instances, intraOpThreads }) => {
        const open = async () => {
          const opened = await openAt.thread({ ...artifact, intraOpThreads })
          const run = opened.run.bind(opened)
          // Two get less done than one.
          const waitMs = instances === 2 ? 5 : 0.5
          opened.run = (given) => new Promise((resolve) => setTimeout(resolve, waitMs)).then(() => run(given))
          return opened
        }
        return instances === 1 ? open() : Instances.create(instances, open, { clock })
      },
      {
        layouts: threadLayouts(2, 2),
        mayInline: false,
        cores: 2,
        onMoved: (message) => moves.push(message),
        clock,
      },
    )
    let asked = 0n
    const client = async (): Promise<void> => {
      while (moves.length < 2 || session.instances !== 1) {
        const i = asked++
        const data = BigInt64Array.of(i, i, i)
        const { outputs } = await session.run({ x: { dtype: 'int64', shape: [1, 3], data } })
        expect(numbers(outputs)).toEqual([i + 1n, i + 2n, i + 3n])
      }
    }
    await Promise.all([client(), client(), client(), client()])
    await session.close()
    expect(moves).toEqual([
      expect.stringContaining('moves to 2 sessions of 1 thread: a trial'),
      expect.stringContaining('moves to 1 session of 2 threads: 2 sessions of 1 thread gave no more'),
    ])
  })

  it('answer each run with its own rows across moves to and fro', async () => {
    const artifact = modelFolder()('add', addInt64())
    const session = await AutoSession.create(
      async ({ placement }) => {
        const isInline = placement === 'inline'
        const opened = await openAt[placement](artifact)
        const run = opened.run.bind(opened)
        // In a thread they seem cheap, inline dear.
        opened.run = async (given) => ({ ...(await run(given)), computeMs: isInline ? 1 : 0.001 })
        return opened
      },
      { layouts: threadLayouts(1, 1), mayInline: true, cores: 1 },
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
