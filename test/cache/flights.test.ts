import { expect, test } from 'vitest'
import { Flights } from '../../src/cache/flights.js'

test('flights are found by their keys until they are taken away, and their places used again', () => {
  const flights = new Flights<string>()
  flights.set('a', 'A')
  flights.set('b', 'B')
  flights.delete('a')
  flights.delete('a')
  flights.set('c', 'C')
  flights.set('b', 'another B')
  expect(['a', 'b', 'c'].map((key) => flights.get(key))).toEqual([undefined, 'another B', 'C'])
  flights.set('d', 'D')
  expect(['b', 'c', 'd'].map((key) => flights.get(key))).toEqual(['another B', 'C', 'D'])
})
