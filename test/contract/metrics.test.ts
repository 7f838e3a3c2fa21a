import { createServing, onnx, scored } from 'mlserving'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { temporaryFolder } from '../execution/support.js'
import { ask, post } from '../http/client.js'
import { writeInto } from '../models/temporary-repository.js'
import { identityModel } from '../onnx/models.js'
import { hosts } from './hosts.js'
import { asAny } from './serving.js'

const folder = temporaryFolder()

beforeAll(() => {
  for (const version of ['1', '2']) writeInto(folder, `sure/${version}/model.onnx`, identityModel())
})

/** A serving of its own, so that the counts are the test's: `sure` in versions 1 and 2, of which 2 serves. */
async function startSure() {
  const source = join(folder, 'sure')
  const decode = ({ y }: { y: { data: Float32Array } }) => scored('yes', y.data[0] ?? 0)
  const serving = createServing({
    models: { sure: onnx({ source, placement: 'inline', outputs: { y: 'float32' }, decode }) },
  })
  await serving.ready()
  return serving
}

describe.each(hosts)('$name', ({ start }) => {
  test('GET /metrics counts requests, latencies, loads and confidences by model, version and status', async () => {
    await using serving = await startSure()
    await using host = await start(asAny(serving))
    await serving.models.load('sure', '1')
    const good = '/models/sure/predict'
    for (const confidence of [0.75, 0.95]) await post(host.origin, good, { x: [confidence, 0, 0] })
    await post(host.origin, '/models/sure/versions/1/predict', { x: [0.25, 0, 0] })
    await post(host.origin, good, { x: [1, 2] })
    await post(host.origin, good, { instances: [{ x: [0.5, 0, 0] }, { x: [1] }] })

    const answer = await ask(host.origin, '/metrics')
    expect(answer.status).toBe(200)
    expect(answer.headers['content-type']).toMatch(/^text\/plain; version=0\.0\.4; charset=utf-8$/)
    const samples = samplesOf(answer.text)
    expect(samples.filter(({ name }) => name === 'model_requests_total')).toEqual([
      sample('model_requests_total', { model: 'sure', model_version: '2', status: 'success' }, 3),
      sample('model_requests_total', { model: 'sure', model_version: '1', status: 'success' }, 1),
      sample('model_requests_total', { model: 'sure', model_version: '2', status: 'invalid_input' }, 2),
    ])
    const two = { model: 'sure', model_version: '2' }
    expect(samples).toContainEqual(sample('model_request_latency_seconds_count', two, 5))
    expect(samples).toContainEqual(sample('prediction_confidence_count', two, 3))
    expect(samples).toContainEqual(sample('prediction_confidence_bucket', { le: '0.7', ...two }, 1))
    expect(samples).toContainEqual(sample('prediction_confidence_bucket', { le: '0.8', ...two }, 2))
    expect(samples).toContainEqual(sample('prediction_confidence_bucket', { le: '1', ...two }, 3))
    for (const model_version of ['1', '2']) {
      const load = samples.find(({ name, labels }) => {
        return name === 'model_load_time_seconds' && labels.model_version === model_version
      })
      expect(load?.labels).toEqual({ model: 'sure', model_version })
      expect(load?.value).toBeGreaterThan(0)
    }
    expect(boundsOf(samples, 'prediction_confidence')).toEqual([
      '0.1',
      '0.2',
      '0.3',
      '0.4',
      '0.5',
      '0.6',
      '0.7',
      '0.8',
      '0.9',
      '1',
      '+Inf',
    ])
    expect(boundsOf(samples, 'model_request_latency_seconds')).toEqual(
      expect.arrayContaining([
        '0.01',
        '0.025',
        '0.05',
        '0.075',
        '0.1',
        '0.25',
        '0.5',
        '0.75',
        '1',
        '2.5',
        '+Inf',
      ]),
    )
    expect(answer.text).toContain('# TYPE model_requests_total counter')
    expect(answer.text).toContain('# TYPE model_request_latency_seconds histogram')
    expect(answer.text).toContain('# TYPE model_load_time_seconds gauge')
    expect(answer.text).toContain('# TYPE prediction_confidence histogram')
  })

  test('a name that only the client knows never becomes a label', async () => {
    await using serving = await startSure()
    await using host = await start(asAny(serving))
    for (const [path, body] of [
      ['/models/invented/predict', {}],
      ['/models/sure/versions/invented/predict', {}],
      ['/models/sure/predict', { model_version: 'invented' }],
      ['/models/invented/versions/invented/predict', {}],
      ['/models/__proto__/predict', {}],
    ] as const) {
      expect((await post(host.origin, path, body, { 'x-request-id': 'invented' })).status, path).toBe(404)
    }
    const { text } = await ask(host.origin, '/metrics')
    expect(text).not.toMatch(/invented|__proto__/)
    const counts = samplesOf(text).filter(({ name }) => name === 'model_requests_total')
    expect(counts).toHaveLength(2)
    const unknown = { model: 'unknown', model_version: 'unknown', status: 'model_not_found' }
    expect(counts).toContainEqual(sample('model_requests_total', unknown, 3))
    const known = { model: 'sure', model_version: 'unknown', status: 'version_not_found' }
    expect(counts).toContainEqual(sample('model_requests_total', known, 2))
  })
})

interface Sample {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

function sample(name: string, labels: Sample['labels'], value: number): Sample {
  return { name, labels, value }
}

/** The samples of Prometheus' text format, in order. */
function samplesOf(text: string): Sample[] {
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  return lines.map((line) => {
    const [, name = '', labels = '', value = ''] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? []
    const pairs = [...labels.matchAll(/(\w+)="([^"]*)"/g)].map(
      ([, key = '', label = '']) => [key, label] as const,
    )
    return sample(name, Object.fromEntries(pairs), Number(value))
  })
}

/** The upper bounds of a histogram's buckets, of its first labels. */
function boundsOf(samples: readonly Sample[], histogram: string): string[] {
  const buckets = samples.filter(({ name }) => name === `${histogram}_bucket`)
  return buckets
    .filter(({ labels }) => labels.model_version === buckets[0]?.labels.model_version)
    .map(({ labels }) => labels.le ?? '')
}
