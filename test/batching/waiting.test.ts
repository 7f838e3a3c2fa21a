import { describe, expect, it } from 'vitest'
import { type Priority, type Waiting, WaitingQueue } from '../../src/batching/waiting.js'
import { random } from '../onnx/random.js'

interface Item extends Waiting {
  readonly name: string
}

let sequence = 0

function item(name: string, options: Partial<Omit<Item, 'name'>> = {}): Item {
  return {
    name,
    rows: 1,
    bytes: 1,
    rowElements: 0,
    signature: '',
    priority: 1,
    tenant: '',
    sequence: sequence++,
    list: undefined,
    previous: undefined,
    next: undefined,
    ...options,
  }
}

function queueOf(...items: readonly Item[]): WaitingQueue<Item> {
  const queue = new WaitingQueue<Item>()
  for (const each of items) queue.add(each)
  return queue
}

const take = (queue: WaitingQueue<Item>, maxRows = 1, maxElements = Infinity) =>
  queue.take(() => ({ maxRows, maxElements })).map(({ name }) => name)

function takeAll(queue: WaitingQueue<Item>, maxRows = 1): string[] {
  const all: string[] = []
  while (queue.size > 0) all.push(...take(queue, maxRows))
  return all
}

describe('tenants', () => {
  const flood = (tenant: string, count: number, options: Partial<Item> = {}) =>
    Array.from({ length: count }, (_, i) => item(`${tenant}${i}`, { tenant, ...options }))

  it('share the runs, however many requests one of them has before the other', () => {
    const queue = queueOf(...flood('a', 6), ...flood('b', 3))
    expect(takeAll(queue)).toEqual(['a0', 'b0', 'a1', 'b1', 'a2', 'b2', 'a3', 'a4', 'a5'])
  })

  it('share them by rows', () => {
    const queue = queueOf(...flood('a', 3, { rows: 4 }), ...flood('b', 6))
    expect(takeAll(queue, 4)).toEqual(['a0', 'b0', 'b1', 'b2', 'b3', 'a1', 'b4', 'b5', 'a2'])
  })

  it('share a batch', () => {
    expect(take(queueOf(...flood('a', 6), ...flood('b', 6)), 4)).toEqual(['a0', 'b0', 'a1', 'b1'])
  })

  it('that had nothing waiting have no claim on the time before', () => {
    const queue = queueOf(...flood('a', 20))
    for (let i = 0; i < 10; i++) take(queue)
    for (const each of flood('b', 4)) queue.add(each)
    expect(takeAll(queue).slice(0, 6)).toEqual(['b0', 'a10', 'b1', 'a11', 'b2', 'a12'])
  })

  it('share them across signatures', () => {
    const queue = queueOf(...flood('a', 4, { signature: 'x' }), ...flood('b', 2, { signature: 'y' }))
    expect(takeAll(queue)).toEqual(['a0', 'b0', 'a1', 'b1', 'a2', 'a3'])
  })

  it('are served as if each of them was looked at, whatever comes and leaves', () => {
    const next = random(7)
    const pick = (count: number) => Math.floor(((next() + 1) / 2) * count)
    const queue = new WaitingQueue<Item>()
    const waiting = new Set<Item>()
    const served = new Map<string, number>()
    const servedOf = ({ tenant }: Item) => served.get(tenant) ?? 0
    const first = (order: (a: Item, b: Item) => number) => [...waiting].sort(order)[0]
    const bySequence = (a: Item, b: Item) => a.sequence - b.sequence
    let before = 0
    let batches = 0
    const isWaiting = (tenant: string) => [...waiting].some((each) => each.tenant === tenant)
    /** A tenant is remembered beyond its requests only where it is ahead of the others. */
    const leave = (each: Item) => {
      waiting.delete(each)
      if (!isWaiting(each.tenant) && servedOf(each) <= before) served.delete(each.tenant)
      if (waiting.size === 0) served.clear()
    }
    for (let step = 0; step < 5000; step++) {
      const kind = pick(10)
      if (kind < 5) {
        const each = item(`${step}`, { tenant: `t${pick(40)}`, rows: 1 + pick(3) })
        if (!isWaiting(each.tenant)) served.set(each.tenant, Math.max(servedOf(each), before))
        waiting.add(each)
        queue.add(each)
      } else if (kind === 5) {
        const gone = [...waiting][pick(waiting.size)]
        expect(gone === undefined || queue.remove(gone)).toBe(true)
        if (gone !== undefined) leave(gone)
      } else if (waiting.size > 0) {
        const isOldests = ++batches % 8 === 0
        const byTurn = (a: Item, b: Item) => servedOf(a) - servedOf(b) || bySequence(a, b)
        const expected = first(isOldests ? bySequence : byTurn)
        expect(take(queue)).toEqual([expected?.name])
        if (expected === undefined) continue
        if (!isOldests) before = servedOf(expected)
        served.set(expected.tenant, servedOf(expected) + expected.rows)
        leave(expected)
      }
    }
  })

  it('that come while one of a higher priority is far ahead do not wait for the others to come as far', () => {
    const queue = queueOf(...flood('busy', 100))
    for (let i = 0; i < 200; i++) {
      queue.add(item('urgent', { tenant: 'urgent', priority: 0 }))
      take(queue)
    }
    while (queue.head()?.tenant === 'urgent') take(queue)
    queue.add(item('new', { tenant: 'new' }))
    expect([take(queue), take(queue), take(queue)].flat()).toContain('new')
  })

  it('are not all looked at for each request that is taken', () => {
    let looks = 0
    const queue = new WaitingQueue<Item>()
    for (let i = 0; i < 2000; i++) {
      const each = item(`${i}`, { tenant: `t${i}` })
      const { sequence: own } = each
      Object.defineProperty(each, 'sequence', { get: () => (looks++, own) })
      queue.add(each)
    }
    looks = 0
    expect(take(queue, 64)).toHaveLength(64)
    expect(looks).toBeLessThan(2000)
  })

  it('come after a higher priority of any other', () => {
    const queue = queueOf(
      ...flood('a', 2),
      item('b', { tenant: 'b' }),
      item('c', { tenant: 'a', priority: 0 }),
    )
    expect(takeAll(queue)).toEqual(['c', 'b', 'a0', 'a1'])
  })
})

it('a low priority gets a run now and then, whatever comes before it', () => {
  const queue = queueOf(item('low', { priority: 2 }))
  const order: string[] = []
  for (let i = 0; i < 20; i++) {
    queue.add(item(`high`, { priority: 0 }))
    order.push(...take(queue))
  }
  expect(order.indexOf('low')).toBeGreaterThan(0)
  expect(order.indexOf('low')).toBeLessThan(8)
})

it('a batch ends where its rows times its longest row would be too many elements', () => {
  const queue = queueOf(
    item('short', { rowElements: 10 }),
    item('long', { rowElements: 40 }),
    item('other', { rowElements: 10 }),
    item('huge', { rowElements: 1000 }),
  )
  expect(take(queue, 8, 100)).toEqual(['short', 'long'])
  expect(take(queue, 8, 100)).toEqual(['other'])
  expect(take(queue, 8, 100)).toEqual(['huge'])
})

it('knows the rows that go before a newcomer', () => {
  const queue = queueOf(
    item('high', { priority: 0, rows: 2 }),
    item('normal', { rows: 3 }),
    item('low', { priority: 2, rows: 5 }),
  )
  expect(([0, 1, 2] satisfies Priority[]).map((priority) => queue.rowsBefore(priority))).toEqual([2, 5, 10])
  takeAll(queue, 10)
  expect(queue.rowsBefore(2)).toBe(0)
})
