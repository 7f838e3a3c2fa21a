import { createServing, custom } from 'mlserving'
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { setTimeout as later } from 'node:timers/promises'
import { z } from 'zod'
import type { AnyServing } from '../../src/serving.js'
import { HandStream } from '../hand-stream.js'
import { json, post } from '../http/client.js'
import { EventClient } from '../http/event-client.js'
import { quietLogger } from '../models/quiet-logger.js'
import { hosts, type RunningHost } from './hosts.js'
import { asAny } from './serving.js'

const path = '/models/hand/stream'
const input = { from: 'a caller' }

describe.each(hosts)('$name', ({ start }) => {
  let hand: HandStream
  let serving: AnyServing
  let host: RunningHost
  /** Items of 64 KiB that were made of `large`. */
  let made: number
  const logger = quietLogger()

  /** `hand`, whose items the test makes; `words` of a text, checked; `large` items; `heedless`, which never
   * ends; `rows`, which has no stream. */
  function startServing(drainTimeoutMs = 30_000): AnyServing {
    return asAny(
      createServing({
        logger,
        drainTimeoutMs,
        models: {
          hand: custom({ unchecked: true, load: () => null, stream: hand.stream }),
          words: custom({
            input: z.object({ text: z.string() }),
            load: () => null,
            stream: (_, { text }) => text.split(' '),
          }),
          large: custom({
            unchecked: true,
            load: () => null,
            async *stream(_, { count }: { count: number }) {
              for (; made < count; made++) yield await Promise.resolve('x'.repeat(2 ** 16))
            },
          }),
          bytes: custom({
            accepts: ['application/octet-stream'],
            load: () => null,
            stream: (_, bytes: Uint8Array) => [...bytes],
          }),
          odd: custom({
            unchecked: true,
            load: () => null,
            stream: () => [1n, undefined, null, 'two\nlines', { toJSON: () => fail() }],
          }),
          heedless: custom({
            unchecked: true,
            load: () => null,
            async *stream() {
              yield 1
              await new Promise(() => {})
            },
          }),
          rows: custom({ unchecked: true, load: () => null, run: (_, rows: unknown[]) => rows }),
        },
      }),
    )
  }

  function fail(): never {
    throw new TypeError('swordfish')
  }

  beforeEach(async () => {
    hand = new HandStream()
    made = 0
    serving = startServing()
    await serving.ready()
    host = await start(serving)
  })
  afterEach(async () => {
    await host[Symbol.asyncDispose]()
    await serving.close()
  })

  async function requestsByStatus(): Promise<Record<string, number>> {
    const metric = await serving.metrics.registry.getSingleMetric('model_requests_total')?.get()
    return Object.fromEntries(
      (metric?.values ?? []).map(({ labels, value }) => [String(labels.status), value]),
    )
  }

  async function beginStream(): Promise<EventClient> {
    const answer = EventClient.post(host.origin, path, input, { 'x-request-id': 'id-1' })
    await hand.give('first')
    const client = await answer
    onTestFinished(() => client.hangUp())
    expect(await client.next()).toEqual({ name: 'message', data: 'first' })
    return client
  }

  test('each item is an event, which comes as soon as it is made', async () => {
    const client = await beginStream()
    expect(client.status).toBe(200)
    expect(client.headers).toMatchObject({
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store, no-transform',
      'x-request-id': 'id-1',
    })
    expect(client.headers).not.toHaveProperty('content-length')
    expect(hand.runs).toMatchObject([{ row: input }])
    for (const item of [2, { three: [3] }]) {
      await hand.give(item)
      expect(await client.next()).toEqual({ name: 'message', data: item })
    }
    await hand.end()
    expect(await client.rest()).toEqual([
      {
        name: 'done',
        data: { request_id: 'id-1', model_version: '1', items: 3, latency_ms: expect.any(Number) },
      },
    ])
    expect(await requestsByStatus()).toEqual({ success: 1 })
  })

  test('no items are an answer as well', async () => {
    const answer = EventClient.post(host.origin, path, input)
    await hand.end()
    using client = await answer
    expect(await client.rest()).toMatchObject([{ name: 'done', data: { items: 0 } }])
  })

  test.each([
    ['/models/words/stream', {}],
    ['/models/words/versions/1/stream', {}],
    ['/models/words/stream', { model_version: '1' }],
    ['/models/words/stream/', { model_version: 'latest' }],
  ])('%s takes its input as a prediction does (%j)', async (at, more) => {
    for (const body of [
      { text: 'a b', ...more },
      { input: { text: 'a b' }, ...more },
    ]) {
      using client = await EventClient.post(host.origin, at, body)
      expect((await client.rest()).map(({ data }) => data)).toMatchObject(['a', 'b', { items: 2 }])
    }
  })

  test('bytes are taken where the model accepts them', async () => {
    const type = { 'content-type': 'application/octet-stream' }
    using client = await EventClient.post(
      host.origin,
      '/models/bytes/stream',
      Uint8Array.from([7, 255]),
      type,
    )
    expect((await client.rest()).map(({ data }) => data)).toMatchObject([7, 255, { items: 2 }])
  })

  test.each([
    ['/models/none/stream', input, 404, 'MODEL_NOT_FOUND'],
    ['/models/words/versions/9/stream', { text: '' }, 404, 'VERSION_NOT_FOUND'],
    ['/models/words/stream', { text: 5 }, 400, 'INVALID_INPUT'],
    ['/models/words/stream', { instances: [{ text: 'a' }] }, 400, 'INVALID_REQUEST'],
    ['/models/words/stream', '{', 400, 'INVALID_REQUEST'],
    ['/models/rows/stream', {}, 400, 'INVALID_REQUEST'],
    ['/models/bytes/stream', {}, 403, 'NOT_EXPOSED'],
  ])('what fails before the first item is an answer of its own: %s %j', async (at, body, status, code) => {
    const answer = await post(host.origin, at, body)
    expect(answer.status).toBe(status)
    expect(answer.headers['content-type']).toBe('application/problem+json; charset=utf-8')
    expect(json(answer)).toMatchObject({ status, code })
  })

  test('so is a stream that fails at its first item, whose text stays in the log', async () => {
    const answer = post(host.origin, path, input)
    await hand.fail(new TypeError('swordfish'))
    expect((await answer).status).toBe(500)
    expect(json(await answer)).toMatchObject({ code: 'INFERENCE_FAILED' })
    expect((await answer).text).not.toContain('swordfish')
  })

  test("errors: 'host' hands on what fails before the first item, and tells what fails after it", async () => {
    await using ownHost = await start(serving, { errors: 'host' })
    const refused = await post(ownHost.origin, '/models/words/stream', { text: 5 })
    expect(json(refused)).toMatchObject({ handler: 'own', code: 'INVALID_INPUT' })
    const answer = EventClient.post(ownHost.origin, path, input)
    await hand.give(1)
    using client = await answer
    expect(await client.next()).toMatchObject({ data: 1 })
    await hand.fail(new TypeError('swordfish'))
    expect(await client.rest()).toMatchObject([{ name: 'error' }])
  })

  test('an error in the middle is told, and ends the stream', async () => {
    const client = await beginStream()
    await hand.fail(new TypeError('swordfish'))
    expect(await client.rest()).toEqual([
      {
        name: 'error',
        data: {
          type: 'about:blank',
          title: 'Internal Server Error',
          status: 500,
          code: 'INFERENCE_FAILED',
          detail: 'The server failed; its log has the details under this request_id.',
          request_id: 'id-1',
        },
      },
    ])
    expect(logger.entries.map(({ message }) => message)).toContain('hand@1: stream failed: swordfish')
    expect(await requestsByStatus()).toEqual({ inference_failed: 1 })
  })

  test('an item has the JSON that an answer has, and one that is no JSON is an error', async () => {
    using client = await EventClient.post(host.origin, '/models/odd/stream', {})
    const events = await client.rest()
    expect(events.map(({ data }) => data)).toMatchObject([
      '1',
      null,
      null,
      'two\nlines',
      { code: 'INTERNAL' },
    ])
    expect(events.at(-1)?.name).toBe('error')
  })

  test('a caller who hangs up while an item is made ends the stream', async () => {
    const client = await beginStream()
    await vi.waitFor(() => expect(hand.runs).toMatchObject([{ isAsked: true }]))
    client.hangUp()
    await hand.ended()
    expect(hand.runs[0]?.signal.aborted).toBe(true)
    await vi.waitFor(async () => expect(await requestsByStatus()).toEqual({ aborted: 1 }))
    expect((await post(host.origin, '/models/rows/predict', {})).status).toBe(200)
  })

  test('a caller who hangs up before the first item ends the stream', async () => {
    const answer = EventClient.post(host.origin, path, input)
    answer.catch(() => {}) // there is none
    await hand.began()
    await host[Symbol.asyncDispose]()
    await hand.ended()
    await vi.waitFor(async () => expect(await requestsByStatus()).toEqual({ aborted: 1 }))
    host = await start(serving)
  })

  /** How many items were made once no more are, since nobody takes them. */
  async function heldBack(): Promise<number> {
    let before = -1
    await vi.waitFor(
      () => {
        const now = made
        const isSteady = now > 0 && now === before
        before = now
        expect(isSteady).toBe(true)
      },
      { interval: 200, timeout: 20_000 },
    )
    return made
  }

  test('a caller who reads slowly holds the stream back, and has all of it in the end', async () => {
    const count = 1000 // 64 MB, which no buffers between the two hold
    using client = await EventClient.post(host.origin, '/models/large/stream', { count })
    expect(await heldBack()).toBeLessThan(count)
    const events = await client.rest()
    expect(events).toHaveLength(count + 1)
    expect(events.at(-1)).toMatchObject({ name: 'done', data: { items: count } })
  })

  test('a caller who hangs up while it holds the stream back ends it', async () => {
    using client = await EventClient.post(host.origin, '/models/large/stream', { count: 1000 })
    const before = await heldBack()
    client.hangUp()
    await vi.waitFor(async () => expect(await requestsByStatus()).toEqual({ aborted: 1 }))
    expect(made).toBeLessThanOrEqual(before + 1)
  })

  test('a caller who takes nothing for maxStallMs is given up, and told once it reads on', async () => {
    await using ownHost = await start(serving, { maxStallMs: 300 })
    using client = await EventClient.post(ownHost.origin, '/models/large/stream', { count: 1000 })
    await vi.waitFor(async () => expect(await requestsByStatus()).toEqual({ aborted: 1 }), 20_000)
    expect(made).toBeLessThan(1000)
    expect((await client.rest()).at(-1)).toMatchObject({
      name: 'error',
      data: { code: 'TIMEOUT', detail: expect.stringContaining('300 ms (maxStallMs)') },
    })
  })

  test('a caller who waits longer than maxStallMs for an item is not', async () => {
    await using ownHost = await start(serving, { maxStallMs: 20 })
    const answer = EventClient.post(ownHost.origin, path, input)
    await hand.give(1)
    using client = await answer
    expect(await client.next()).toMatchObject({ data: 1 })
    await later(100)
    await hand.give(2)
    await hand.end()
    expect((await client.rest()).map(({ data }) => data)).toMatchObject([2, { items: 2 }])
  })

  test('the deadline that the host gives a caller ends the stream', async () => {
    await using ownHost = await start(serving, { context: () => ({ timeoutMs: 100 }) })
    const answer = EventClient.post(ownHost.origin, path, input)
    await hand.give(1)
    using client = await answer
    expect(await client.rest()).toMatchObject([{ data: 1 }, { name: 'error', data: { code: 'TIMEOUT' } }])
    await hand.ended()
  })

  test('a deadline and a close are told at once, whether the model heeds them or not', async () => {
    const impatient = startServing(50)
    await using ownHost = await start(impatient, { context: () => ({ timeoutMs: 100 }) })
    using late = await EventClient.post(ownHost.origin, '/models/heedless/stream', {})
    expect(await late.rest()).toMatchObject([{ data: 1 }, { name: 'error', data: { code: 'TIMEOUT' } }])
    await using other = await start(impatient)
    using closed = await EventClient.post(other.origin, '/models/heedless/stream', {})
    expect(await closed.next()).toMatchObject({ data: 1 })
    await impatient.close()
    expect(await closed.rest()).toMatchObject([{ name: 'error', data: { code: 'CLOSED' } }])
  })

  test('a close waits for streams', async () => {
    const client = await beginStream()
    const closing = serving.close()
    await hand.give(2)
    expect(await client.next()).toMatchObject({ data: 2 })
    await hand.end()
    expect(await client.rest()).toMatchObject([{ name: 'done', data: { items: 2 } }])
    await closing
  })

  test('a close cuts off streams at drainTimeoutMs, and tells their callers', async () => {
    const impatient = startServing(50)
    await using ownHost = await start(impatient)
    const answer = EventClient.post(ownHost.origin, path, input)
    await hand.give(1)
    using client = await answer
    expect(await client.next()).toMatchObject({ data: 1 })
    await impatient.close()
    expect(await client.rest()).toMatchObject([{ name: 'error', data: { code: 'CLOSED', status: 503 } }])
    await hand.ended()
  })

  test('a connection serves further requests after a stream', async () => {
    const ask = (path: string, body: object) =>
      fetch(`${host.origin}${path}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
      }).then((response) => response.text())
    for (let i = 0; i < 3; i++) {
      expect(await ask('/models/words/stream', { text: 'a b' })).toMatch(
        /^data: "a"\n\ndata: "b"\n\nevent: done\ndata: \{.*\}\n\n$/,
      )
      expect(await ask('/models/rows/predict', { i })).toContain(`"prediction":{"i":${i}}`)
    }
  })
})
