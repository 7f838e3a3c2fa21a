import { expect, test } from 'vitest'
import { Demand } from '../../src/batching/demand.js'
import { LimitsWatch } from '../../src/batching/limits-watch.js'
import { systemClock } from '../../src/clock.js'

test('a demand is as urgent as the most urgent, and tells of each rise', () => {
  const demand = new Demand(2)
  const priorities: number[] = []
  demand.listen({ raised: () => priorities.push(demand.priority) })
  for (const priority of [2, 1, 2, 1, 0] as const) demand.raise(priority)
  expect(priorities).toEqual([1, 0])
})

test('a demand that is abandoned says so once, also by its signal, whenever that was asked for', () => {
  const demand = new Demand(1)
  const { signal } = demand
  let told = 0
  demand.listen({ abandoned: () => told++ })
  expect([demand.isWanted, signal.aborted]).toEqual([true, false])
  demand.abandon()
  demand.abandon()
  expect([demand.isWanted, signal.aborted, told]).toEqual([false, true, 1])

  const late = new Demand(1)
  late.abandon()
  expect(late.signal.aborted).toBe(true)
})

test('a request for a demand that is abandoned is refused, or told, unless its watch has ended', () => {
  const watch = new LimitsWatch(systemClock)
  const demand = new Demand(1)
  const told: string[] = []
  watch.watch({ demand }, ({ code }) => told.push(code))
  watch.watch({ demand }, () => told.push('ended'))()
  expect(watch.expired({ demand })).toBeUndefined()
  demand.abandon()
  expect(told).toEqual(['ABORTED'])
  expect(watch.expired({ demand })).toMatchObject({ code: 'ABORTED' })
})
