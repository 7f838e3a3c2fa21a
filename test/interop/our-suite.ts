import { expect, it } from 'vitest'
import type { Tensor } from '../../src/tensor/tensor.js'
import { below } from './our-server.js'
import { failureOf } from './protocol-suite.js'
import { numbers, sample } from './samples.js'
import { statuses, type Subject } from './subject.js'
import type { TritonClient } from './triton-client.js'

const identity = 'identity_float32'
const x = numbers([2, 3])
const image = numbers([2, 1, 28, 28])
const text: Tensor = { dtype: 'string', shape: [2], data: ['I love it', 'awful'] }

/** What tritonclient gets of our servers, where Triton would do otherwise or differs by the model's backend. */
export function isOurOwn(client: () => TritonClient, subject: () => Subject): void {
  const statusOf = (kind: keyof typeof statuses) => statuses[kind][client().transport]

  it('names the best classes of each row', async () => {
    const outputs = [{ name: 'probabilities', classes: 3 }, { name: 'probabilities' }]
    const [classes, scores] = await Promise.all(
      outputs.map(async (output) =>
        client()
          .infer({ model: 'digits', inputs: { image }, outputs: [output] })
          .then(({ tensors }) => tensors['probabilities']),
      ),
    )
    if (classes?.dtype !== 'string' || scores?.dtype !== 'float32') throw new Error('not classes of scores')
    expect(classes.shape).toEqual([2, 3])
    for (const row of [0, 1]) {
      const ranked = [...scores.data.subarray(10 * row, 10 * row + 10)]
        .map((score, index) => ({ score, index }))
        .sort((a, b) => b.score - a.score)
      for (const [rank, { score, index }] of ranked.slice(0, 3).entries()) {
        const [said, ...names] = classes.data[3 * row + rank]?.split(':') ?? []
        expect(Number(said)).toBeCloseTo(score, 5)
        // The digits' classes are named by the digits.
        expect(names).toEqual([`${index}`, `${index}`])
      }
    }
  })

  it('names classes by what the model calls them', async () => {
    const outputs = [{ name: 'probabilities', classes: 1 }]
    const { tensors } = await client().infer({ model: 'sentiment', inputs: { text }, outputs })
    expect(tensors['probabilities']?.data).toEqual([
      expect.stringMatching(/^0\.\d+:1:positive$/),
      expect.stringMatching(/^0\.\d+:0:negative$/),
    ])
  })

  it('answers by the version that serves, and says which', async () => {
    expect(await client().infer({ model: 'sentiment', inputs: { text } })).toMatchObject({
      model_version: '2.0',
    })
  })

  it('counts rows, and runs', async () => {
    const counts = async () => {
      const answer = await client().call('get_inference_statistics', { model_name: identity })
      const [statistics] = (answer as { model_stats: Record<string, unknown>[] }).model_stats
      return [statistics?.['inference_count'], statistics?.['execution_count']].map(Number)
    }
    const [rows = 0, runs = 0] = await counts()
    await client().infer({ model: identity, inputs: { x } })
    expect(await counts()).toEqual([rows + 2, runs + 1])
  })

  it('holds a request to its timeout', async () => {
    const slow = { model: 'slow', inputs: { x: numbers([1, 4]) }, options: { timeout: 100_000 } }
    const { status, message } = await failureOf(client().infer(slow))
    expect(status).toBe(statusOf('deadline'))
    expect(message).toContain('slow')
  })

  it('is found below a path', async () => {
    if (client().transport === 'grpc') return
    const under = client().below(below)
    expect(await under.call('is_server_ready')).toBe(true)
    expect((await under.infer({ model: identity, inputs: { x } })).tensors['y']).toEqual(x)
  })

  it('refuses sequences', async () => {
    const options = { sequence_id: 7, sequence_start: true }
    const { status, message } = await failureOf(client().infer({ model: identity, inputs: { x }, options }))
    expect(status).toBe(statusOf('invalid'))
    expect(message).toMatch(/sequence/)
  })

  it('refuses shared memory', async () => {
    const input = { name: 'x', datatype: 'FP32', shape: [1, 3], region: 'here', binary: true, raw: '' }
    const { status, message } = await failureOf(
      client().call('infer', { model_name: identity, inputs: [input] }),
    )
    expect(status).toBe(statusOf('invalid'))
    expect(message).toMatch(/shared.?memory/i)
  })

  it('lets nobody load and unload who may not', async () => {
    for (const method of ['load_model', 'unload_model']) {
      for (const headers of [{}, { authorization: 'Bearer not-the-token-at-all' }]) {
        const { status } = await failureOf(client().call(method, { model_name: 'pair', headers }))
        expect(status).toBe(statusOf('unauthorized'))
      }
    }
    expect(await client().call('is_model_ready', { model_name: 'pair' })).toBe(true)
  })

  it('refuses to load by a configuration or files that are sent', async () => {
    const args = { model_name: 'pair', headers: subject().administrator, config: '{"backend":"python"}' }
    const { status, message } = await failureOf(client().call('load_model', args))
    expect(status).toBe(statusOf('invalid'))
    expect(message).toMatch(/config/)
  })

  it('keeps NaN and infinities in bytes, and writes null for them in JSON', async () => {
    const data = Float32Array.of(NaN, Infinity, 1.5)
    const special: Tensor = { dtype: 'float32', shape: [1, 3], data }
    const outputs = [{ name: 'y', binary: false }]
    const { tensors } = await client().infer({ model: identity, inputs: { x: special }, outputs })
    const expected = client().transport === 'grpc' ? data : Float32Array.of(NaN, NaN, 1.5)
    expect(tensors['y']?.data).toEqual(expected)
  })

  it('takes halves as JSON too', async () => {
    const half = sample('float16', [2, 3], { json: true })
    const { tensors } = await client().infer({
      model: 'identity_float16',
      inputs: { x: half },
      binary: false,
      outputs: [{ name: 'y', binary: false }],
    })
    expect(tensors['y']).toEqual(half)
  })

  it('refuses NaN in JSON', async () => {
    if (client().transport === 'grpc') return
    const special: Tensor = { dtype: 'float32', shape: [1, 3], data: Float32Array.of(NaN, 1, 2) }
    const asked = client().infer({ model: identity, inputs: { x: special }, binary: false })
    expect((await failureOf(asked)).status).toBe('400')
  })

  it('leaves what is cancelled, and answers the next', async () => {
    if (client().transport === 'http' || client().style === 'aio') return
    const slow = { model: 'slow', inputs: { x: numbers([1, 4]) } }
    const outcome = await client().cancelInference(slow)
    expect(outcome).toMatchObject({ error: { kind: 'server', status: 'StatusCode.CANCELLED' } })
    expect((await client().infer({ model: identity, inputs: { x } })).tensors['y']).toEqual(x)
  })

  it('refuses text that is not UTF-8', async () => {
    const raw = Buffer.from([2, 0, 0, 0, 0xff, 0xfe]).toString('base64')
    const input = { name: 'text', datatype: 'BYTES', shape: [1], raw, binary: true }
    const asked = client().call('infer', { model_name: 'sentiment', inputs: [input] })
    const { status, message } = await failureOf(asked)
    expect(status).toBe(statusOf('invalid'))
    expect(message).toMatch(/text.*UTF-8/)
  })
}
