import { expect, it } from 'vitest'
import { Backoff } from '../src/backoff.js'

it('each wait is twice the one before, up to the longest, and a success begins anew', () => {
  const backoff = new Backoff({ firstMs: 100, longestMs: 350 })
  expect([1, 2, 3, 4].map(() => backoff.failed())).toEqual([100, 200, 350, 350])
  backoff.succeeded()
  expect(backoff.failed()).toBe(100)
})
