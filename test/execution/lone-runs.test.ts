import { describe, expect, it } from 'vitest'
import { LoneRuns } from '../../src/execution/lone-runs.js'
import { FakeSession, settled } from './fake-session.js'
import { feeds } from './support.js'

/** Of a model whose rows cost so much, after enough of them ran in threads. */
async function known(costMs: number, width = 1): Promise<{ lone: LoneRuns; opened: FakeSession[] }> {
  const opened: FakeSession[] = []
  const lone = new LoneRuns(async () => {
    const session = new FakeSession('inline', () => costMs)
    opened.push(session)
    return session
  })
  for (let i = 0; i < 128; i++) lone.inThreads(1, costMs / width, width)
  await settled()
  return { lone, opened }
}

/** Whether a run of one row is inline, after so many that came alone. */
function isInline(lone: LoneRuns, after = 8): boolean {
  for (let i = 0; i < after; i++) lone.runFor(1, 0)
  return lone.runFor(1, 0) !== undefined
}

describe('runs that come alone', () => {
  it('are inline where they are short, once several have come one by one', async () => {
    const { lone, opened } = await known(0.3)
    expect(isInline(lone, 7)).toBe(false)
    const run = lone.runFor(1, 0)
    expect(run).toBeDefined()
    expect((await run?.(feeds(1, 3)))?.computeMs).toBe(0.3)
    expect(opened.map(({ runs }) => runs)).toEqual([1])
  })

  it('stay in threads where they are long: no second copy of the model is opened', async () => {
    const { lone, opened } = await known(0.6)
    expect(isInline(lone)).toBe(false)
    expect(opened).toEqual([])
  })

  it('count as long as they would be on one thread', async () => {
    expect(isInline((await known(0.6, 2)).lone)).toBe(false)
    expect(isInline((await known(0.4, 2)).lone)).toBe(true)
  })

  it.each([
    { what: 'of several rows', rows: 2, others: 0 },
    { what: 'beside others in threads', rows: 1, others: 1 },
  ])('end with a run $what', async ({ rows, others }) => {
    const { lone } = await known(0.1)
    expect(isInline(lone)).toBe(true)
    expect(lone.runFor(rows, others)).toBeUndefined()
    expect(lone.runFor(1, 0)).toBeUndefined()
    expect(isInline(lone)).toBe(true)
  })

  it('end with a run beside one inline', async () => {
    const { lone, opened } = await known(0.1)
    isInline(lone, 7)
    const [session] = opened
    if (session !== undefined) session.held = true
    const first = lone.runFor(1, 0)?.(feeds(1, 3))
    expect(lone.runFor(1, 0)).toBeUndefined()
    session?.answer()
    await first
    expect(isInline(lone)).toBe(true)
  })

  it('end where they have grown long, and come back', async () => {
    const { lone, opened } = await known(0.1)
    const [session] = opened
    isInline(lone)
    if (session !== undefined) session.costMs = () => 2
    for (let i = 0; i < 3; i++) await lone.runFor(1, 0)?.(feeds(1, 3))
    expect(lone.runFor(1, 0)).toBeUndefined()
    for (let i = 0; i < 30; i++) lone.inThreads(1, 0.1, 1)
    expect(lone.runFor(1, 0)).toBeDefined()
  })

  it('are left to the threads where the model does not open a second time', async () => {
    const lone = new LoneRuns(() => Promise.reject(new Error('no memory')))
    for (let i = 0; i < 200; i++) lone.inThreads(1, 0.1, 1)
    await settled()
    expect(isInline(lone)).toBe(false)
    await lone.close()
  })

  it('give the second copy back, also one that was still being opened', async () => {
    const { lone, opened } = await known(0.1)
    await lone.close()
    expect(opened[0]?.closed).toBe(true)
    expect(isInline(lone)).toBe(false)

    const late = new FakeSession('inline')
    let open = () => {}
    const opening = new LoneRuns(() => new Promise((resolve) => (open = () => resolve(late))))
    for (let i = 0; i < 128; i++) opening.inThreads(1, 0.1, 1)
    const closed = opening.close()
    open()
    await closed
    expect(late.closed).toBe(true)
  })
})
