import { createServing, custom } from 'mlserving'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import type { AnyServing } from '../../src/serving.js'
import { HandStream } from '../hand-stream.js'
import { json, post } from '../http/client.js'
import { EventClient } from '../http/event-client.js'
import { quietLogger } from '../models/quiet-logger.js'
import { hosts, type RunningHost } from './hosts.js'
import { asAny } from './serving.js'

const generateInput = z.object({
  text_input: z.string(),
  parameters: z.object({ separator: z.string().default(' ') }).default({ separator: ' ' }),
  bang: z.boolean().default(false),
})

describe.each(hosts)('$name', ({ start }) => {
  let hand: HandStream
  let serving: AnyServing
  let host: RunningHost

  beforeEach(async () => {
    hand = new HandStream()
    serving = asAny(
      createServing({
        logger: quietLogger(),
        models: {
          llm: custom({
            input: generateInput,
            load: () => null,
            *stream(_, { text_input: text, parameters: { separator }, bang }) {
              for (const word of text.split(separator)) yield `${word.toUpperCase()}${bang ? '!' : ''} `
            },
          }),
          whole: custom({
            unchecked: true,
            load: () => null,
            run: (_, rows: { text_input: string }[]) =>
              rows.map(({ text_input: text }) => ({ text_output: `<${text}>`, tokens: 3 })),
          }),
          hand: custom({ unchecked: true, load: () => null, stream: hand.stream }),
          fails: custom({
            unchecked: true,
            load: () => null,
            run: () => Promise.reject(new Error('swordfish')),
          }),
          number: custom({ unchecked: true, load: () => null, stream: () => [5] }),
          unexposed: custom({ load: () => null, stream: () => [] }),
        },
      }),
    )
    await serving.ready()
    host = await start(serving)
  })
  afterEach(async () => {
    await host[Symbol.asyncDispose]()
    await serving.close()
  })

  test.each(['/v2/models/llm', '/v2/models/llm/versions/1'])(
    '%s/generate answers the whole text',
    async (at) => {
      const answer = await post(host.origin, `${at}/generate`, {
        text_input: 'a,b',
        parameters: { separator: ',' },
        bang: true,
      })
      expect(answer.status).toBe(200)
      expect(json(answer)).toEqual({ model_name: 'llm', model_version: '1', text_output: 'A! B! ' })
    },
  )

  test('generate answers the text_output of a model that answers at once', async () => {
    const answer = await post(host.origin, '/v2/models/whole/generate', { text_input: 'a' })
    expect(json(answer)).toEqual({ model_name: 'whole', model_version: '1', text_output: '<a>' })
  })

  test.each(['/v2/models/llm', '/v2/models/llm/versions/1'])(
    '%s/generate_stream answers the text piece by piece, and says when it is done',
    async (at) => {
      using client = await EventClient.post(host.origin, `${at}/generate_stream`, { text_input: 'a b' })
      expect(client.status).toBe(200)
      expect(client.headers['content-type']).toBe('text/event-stream; charset=utf-8')
      const name = { model_name: 'llm', model_version: '1' }
      expect(await client.rest()).toEqual([
        { name: 'message', data: { ...name, text_output: 'A ', done: false } },
        { name: 'message', data: { ...name, text_output: 'B ', done: false } },
        { name: 'message', data: { ...name, text_output: '', done: true } },
      ])
    },
  )

  test('generate_stream answers in one piece where the model answers at once', async () => {
    using client = await EventClient.post(host.origin, '/v2/models/whole/generate_stream', {
      text_input: 'a',
    })
    const name = { model_name: 'whole', model_version: '1' }
    expect(await client.rest()).toEqual([
      { name: 'message', data: { ...name, text_output: '<a>', done: false } },
      { name: 'message', data: { ...name, text_output: '', done: true } },
    ])
  })

  test.each(['application/x-www-form-urlencoded', 'text/plain', 'application/octet-stream'])(
    'the body is JSON where its type is %s, as curl sends it',
    async (type) => {
      for (const path of ['generate', 'generate_stream']) {
        const answer = await post(
          host.origin,
          `/v2/models/llm/${path}`,
          { text_input: 'a b' },
          { 'content-type': type },
        )
        expect([answer.status, answer.text]).toEqual([200, expect.stringContaining('"text_output":"A ')])
      }
    },
  )

  test('a piece comes as soon as it is made, and an error in the middle is told', async () => {
    const answer = EventClient.post(host.origin, '/v2/models/hand/generate_stream', { text_input: '' })
    await hand.give({ text_output: 'so far', more: 1 })
    using client = await answer
    expect(await client.next()).toMatchObject({ data: { text_output: 'so far', done: false } })
    await hand.fail(new TypeError('swordfish'))
    const error = expect.stringMatching(
      /^the server failed; its log has the details under the request's id, /,
    )
    expect(await client.rest()).toEqual([{ name: 'message', data: { error } }])
  })

  test('a caller who hangs up ends the stream', async () => {
    const answer = EventClient.post(host.origin, '/v2/models/hand/generate_stream', { text_input: '' })
    await hand.give('a')
    const client = await answer
    client.hangUp()
    await hand.ended()
  })

  test.each([
    ['/v2/models/none/generate', { text_input: '' }, 404, 'no model "none"'],
    ['/v2/models/llm/versions/9/generate', { text_input: '' }, 404, '"9"'],
    ['/v2/models/llm/generate', {}, 400, 'text_input must be a string; got undefined.'],
    ['/v2/models/llm/generate_stream', { text_input: 5 }, 400, 'text_input must be a string; got 5.'],
    ['/v2/models/llm/generate', { text_input: '', parameters: [1] }, 400, 'parameters must be an object'],
    ['/v2/models/llm/generate', { text_input: '', bang: 1 }, 400, 'llm@1: bang:'],
    ['/v2/models/llm/generate', '{', 400, 'the body is not JSON'],
    ['/v2/models/unexposed/generate', { text_input: '' }, 403, '`input` schema'],
    ['/v2/models/number/generate_stream', { text_input: '' }, 500, 'the server failed'],
    ['/v2/models/none/generate_stream', { text_input: '' }, 404, 'no model "none"'],
    ['/v2/models/fails/generate_stream', { text_input: '' }, 500, 'the server failed'],
    ['/v2/models/number/generate', { text_input: '' }, 500, 'the server failed'],
  ])('%s of %j is an error of the protocol', async (at, body, status, message) => {
    const answer = await post(host.origin, at, body)
    expect(answer.status).toBe(status)
    expect(json(answer)).toEqual({ error: expect.stringContaining(message) })
  })
})
