import { expect, it } from 'vitest'
import { asServingError, errorTable, metricStatus, ServingError } from '../src/errors.js'

it('an error of another copy of the package is recognised by its code', async () => {
  const { vi } = await import('vitest')
  vi.resetModules()
  const other = await import('../src/errors.js')
  const foreign = new other.ServingError('QUEUE_FULL', 'full')
  expect(foreign).not.toBeInstanceOf(ServingError)
  expect(ServingError.is(foreign)).toBe(true)
  expect(ServingError.is(foreign, 'QUEUE_FULL')).toBe(true)
  expect(ServingError.is(foreign, 'TIMEOUT')).toBe(false)
})

it('other values are not serving errors', () => {
  for (const value of [new Error('x'), { code: 'TIMEOUT' }, null, 'TIMEOUT'])
    expect(ServingError.is(value)).toBe(false)
})

it('an error has what host error handlers read', () => {
  const error = new ServingError('QUEUE_FULL', 'full', { headers: { 'retry-after': '1' } })
  expect(error).toMatchObject({
    name: 'ServingError',
    status: 503,
    statusCode: 503,
    expose: true,
    retryable: true,
  })
  expect(error.headers).toEqual({ 'retry-after': '1' })
  expect(new ServingError('INTERNAL', 'secret').expose).toBe(false)
})

it('anything thrown becomes a serving error that keeps its cause', () => {
  const cause = new Error('boom')
  expect(asServingError(cause, 'INVALID_CODEC', 'decode failed')).toMatchObject({
    code: 'INVALID_CODEC',
    message: 'decode failed: boom',
    cause,
  })
  expect(asServingError('text')).toMatchObject({ code: 'INTERNAL', message: 'text' })
  const known = new ServingError('TIMEOUT', 'late')
  expect(asServingError(known, 'INTERNAL')).toBe(known)
})

it('metric labels come from the table alone', () => {
  expect(metricStatus()).toBe('success')
  const labels = (Object.keys(errorTable) as (keyof typeof errorTable)[]).map((code) =>
    metricStatus(new ServingError(code, '')),
  )
  expect(labels.every((label) => /^[a-z_]+$/.test(label))).toBe(true)
})
