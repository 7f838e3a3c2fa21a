import { Metadata, status } from '@grpc/grpc-js'
import { describe, expect, test } from 'vitest'
import { float32Bytes, type Plain } from './client.js'
import { metric, request, slow, slowModel, start } from './running-server.js'

describe('a stream of inferences', () => {
  test('answers each request, in their order, until the client has no more', async () => {
    const { client } = await start({}, slowModel)
    const ids = ['slow', ...Array.from({ length: 100 }, (_, i) => `${i}`)]
    const requests = ids.map((id) => ({ ...(id === 'slow' ? slow : request), id }))
    const { answers, end } = await client.stream(requests)
    expect(end.code).toBe(status.OK)
    expect(answers.map((each) => each.error_message)).toEqual(ids.map(() => ''))
    expect(answers.map((each) => (each.infer_response as Plain).id)).toEqual(ids)
    expect(answers.at(-1)?.infer_response).toMatchObject({
      model_name: 'm',
      model_version: '1',
      outputs: [{ name: 'y', datatype: 'FP32', shape: ['1', '3'] }],
      raw_output_contents: [float32Bytes(1, 2, 3)],
      parameters: { triton_final_response: { bool_param: true } },
    })
  })

  test('says what is wrong with one request beside its id, and goes on', async () => {
    const { client } = await start()
    const { answers, end } = await client.stream([
      { ...request, model_name: 'nobody', id: 'a' },
      { ...request, raw_input_contents: [Buffer.of(1)], id: 'b' },
      { ...request, id: 'c' },
    ])
    expect(end.code).toBe(status.OK)
    expect(answers).toMatchObject([
      {
        error_message: expect.stringContaining('"nobody"'),
        infer_response: { id: 'a', model_name: 'nobody', outputs: [] },
      },
      { error_message: expect.stringContaining('got 1'), infer_response: { id: 'b' } },
      { error_message: '', infer_response: { id: 'c', outputs: [{ name: 'y' }] } },
    ])
  })

  test('says of bytes that are no message that they are none, and goes on', async () => {
    const { client } = await start()
    const { answers } = await client.stream([Buffer.from([0x0a, 0xff]), request])
    expect(answers.map((each) => each.error_message)).toEqual([expect.stringContaining('malformed'), ''])
  })

  test('leaves with the client what it can not compute yet, a full queue or not', async () => {
    const { client, serving } = await start({}, slowModel)
    const { call, answers, ended } = client.openStream()
    for (let i = 0; i < 200; i++) call.write(slow)
    await expect.poll(() => metric(serving, 'model_requests_in_flight')).toBe(32)
    await expect.poll(() => answers.length).toBeGreaterThan(1)
    expect(answers.map((each) => each.error_message)).toEqual(answers.map(() => ''))
    expect(await metric(serving, 'model_requests_in_flight')).toBeLessThanOrEqual(32)
    call.cancel()
    expect((await ended).code).toBe(status.CANCELLED)
    await expect.poll(() => metric(serving, 'model_requests_in_flight')).toBe(0)
  })

  test('ends with its deadline, and what waits in the queue costs no run', async () => {
    const { client, serving } = await start({}, slowModel)
    const { end } = await client.stream([slow, slow, slow], undefined, { deadline: Date.now() + 450 })
    expect(end.code).toBe(status.DEADLINE_EXCEEDED)
    await expect.poll(() => metric(serving, 'model_requests_in_flight')).toBe(0)
    const [{ execution_count: runs } = {}] = (await client.call('ModelStatistics', { name: 'slow' }))
      .model_stats as Plain[]
    expect(Number(runs)).toBeLessThan(3)
  })

  test('asks the host once who it is, and tells its id', async () => {
    const seen: unknown[] = []
    const { client } = await start({
      context: ({ metadata }) => {
        seen.push(metadata.get('user')[0])
        return { requestId: 'theirs' }
      },
    })
    const metadata = new Metadata()
    metadata.set('user', 'ada')
    const { call, ended } = client.openStream(metadata)
    const headers = new Promise<Metadata>((resolve) => call.once('metadata', resolve))
    call.write(request)
    call.write(request)
    call.end()
    expect((await headers).get('x-request-id')).toEqual(['theirs'])
    await ended
    expect(seen).toEqual(['ada'])
  })

  test('is refused by a status that the host throws', async () => {
    const { client } = await start({
      context: () => {
        // eslint-disable-next-line @typescript-eslint/only-throw-error -- as grpc-js's own handlers may
        throw { code: status.UNAUTHENTICATED, details: 'who are you?' }
      },
    })
    const { answers, end } = await client.stream([request])
    expect(answers).toEqual([])
    expect(end).toMatchObject({ code: status.UNAUTHENTICATED, details: 'who are you?' })
  })

  test('whose client has no more ends well while the server closes', async () => {
    const { client, server, serving } = await start({}, slowModel)
    const streaming = client.stream([slow])
    await expect.poll(() => metric(serving, 'model_requests_in_flight')).toBe(1)
    await server.close()
    const { answers, end } = await streaming
    expect(end.code).toBe(status.OK)
    expect(answers).toMatchObject([{ error_message: '' }])
  })

  test('ends as the server closes, once what came is answered', async () => {
    const { client, server, serving } = await start({}, slowModel)
    const { call, answers, ended } = client.openStream()
    call.write(slow)
    await expect.poll(() => metric(serving, 'model_requests_in_flight')).toBe(1)
    await server.close()
    expect((await ended).code).toBe(status.UNAVAILABLE)
    expect(answers).toMatchObject([{ error_message: '', infer_response: { model_name: 'slow' } }])
  })
})
