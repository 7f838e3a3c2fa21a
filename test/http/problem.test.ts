import { ServingError, type Logger } from 'mlserving'
import { describe, expect, test } from 'vitest'
import { problem } from '../../src/http/problem.js'

/** A logger that keeps the errors it is told. */
function recorder(): Logger & { readonly errors: [object, string][] } {
  const errors: [object, string][] = []
  const drop = () => {}
  return { errors, debug: drop, info: drop, warn: drop, error: (...entry) => void errors.push(entry) }
}

describe('an error of the caller', () => {
  test('is told as it is, with the headers it brings, and is no matter for the log', () => {
    const logger = recorder()
    const error = new ServingError('QUEUE_FULL', 'the queue is full.', { headers: { 'retry-after': '1' } })
    const response = problem(error, 'id-1', logger)
    expect(response.status).toBe(503)
    expect(response.headers).toEqual({
      'content-type': 'application/problem+json; charset=utf-8',
      'retry-after': '1',
      'x-request-id': 'id-1',
    })
    expect(JSON.parse(response.body)).toEqual({
      type: 'about:blank',
      title: 'Service Unavailable',
      status: 503,
      code: 'QUEUE_FULL',
      detail: 'the queue is full.',
      request_id: 'id-1',
    })
    expect(logger.errors).toEqual([])
  })

  test('has its code for a title where HTTP has no name for the status', () => {
    const { body } = problem(new ServingError('ABORTED', 'gone'), 'id-1', recorder())
    expect(JSON.parse(body)).toMatchObject({ title: 'ABORTED', status: 499 })
  })
})

describe('an error of the server', () => {
  test.each([
    ['a ServingError', new ServingError('INVALID_CODEC', 'decode failed: swordfish'), 'INVALID_CODEC'],
    ['an Error', new RangeError('swordfish'), 'INTERNAL'],
    ['a text', 'swordfish', 'INTERNAL'],
    ['undefined', undefined, 'INTERNAL'],
  ])('keeps what it says to the log, beside the id: %s', (_, thrown, code) => {
    const logger = recorder()
    const response = problem(thrown, 'id-1', logger)
    expect(response.status).toBe(500)
    expect(response.body).not.toContain('swordfish')
    expect(JSON.parse(response.body)).toMatchObject({
      code,
      detail: 'The server failed; its log has the details under this request_id.',
    })
    expect(logger.errors).toHaveLength(1)
    const [[fields, message] = [{}, '']] = logger.errors
    expect(fields).toMatchObject({ err: { code }, requestId: 'id-1' })
    expect(message).toContain(thrown === undefined ? 'undefined' : 'swordfish')
  })
})
