import { describe, expect, it } from 'vitest'
import { InferenceError } from '../../src/client/inference-error.js'
import { retryAfterMs, retryDelayMs } from '../../src/client/retry.js'

describe('the wait before another attempt', () => {
  it('is a random part of what doubles each time, up to 5 seconds', () => {
    const longest = Array.from({ length: 8 }, (_, attempt) => retryDelayMs(attempt, undefined, () => 1))
    expect(longest).toEqual([100, 200, 400, 800, 1600, 3200, 5000, 5000])
    expect(retryDelayMs(3, undefined, () => 0.25)).toBe(200)
  })

  it('is at least what the server asks for', () => {
    const error = new InferenceError('SERVER_ERROR', 'busy', { retryAfterMs: 2000 })
    expect(retryDelayMs(0, error)).toBe(2000)
    expect(retryDelayMs(7, error, () => 1)).toBe(5000)
  })
})

describe('Retry-After', () => {
  it('is seconds or a date, and nothing where it is neither', () => {
    expect(retryAfterMs('1.5')).toBe(1500)
    expect(retryAfterMs('-1')).toBe(0)
    expect(retryAfterMs(new Date(Date.now() - 5000).toUTCString())).toBe(0)
    const soon = retryAfterMs(new Date(Date.now() + 60_000).toUTCString())
    expect(soon).toBeGreaterThan(58_000)
    expect(soon).toBeLessThanOrEqual(60_000)
    for (const wrong of [null, '', 'soon']) expect(retryAfterMs(wrong)).toBeUndefined()
  })
})
