import { describe, expect, it } from 'vitest'
import { type Priority, type Waiting, WaitingQueue } from '../../src/batching/waiting.js'

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
