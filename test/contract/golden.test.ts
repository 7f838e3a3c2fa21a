import { readdirSync, readFileSync } from 'node:fs'
import { createServing } from 'mlserving'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { AnyServing } from '../../src/serving.js'
import { json, post } from '../http/client.js'
import { hosts, type RunningHost } from './hosts.js'
import { asAny } from './serving.js'

/** One line of a `golden.jsonl`: what the model's file answers when onnxruntime runs it. */
interface Golden {
  readonly input: Readonly<Record<string, unknown>>
  readonly expected: { readonly prediction: string; readonly confidence: number }
  readonly tolerance: number
}

const repository = 'examples/models'
const versions = readdirSync(repository, { recursive: true, encoding: 'utf8' })
  .map((path) => path.split(/[\\/]/))
  .filter(([, , file]) => file === 'golden.jsonl')
  .map(([model = '', version = '']) => ({ model, version, lines: goldenOf(model, version) }))

function goldenOf(model: string, version: string): Golden[] {
  const text = readFileSync(`${repository}/${model}/${version}/golden.jsonl`, 'utf8')
  return text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Golden)
}

let serving: AnyServing

beforeAll(async () => {
  serving = asAny(createServing(repository))
  await serving.ready()
  for (const { model, version } of versions) await serving.models.load(model, version)
})
afterAll(() => serving.close())

test('every example model has golden answers', () => {
  expect(versions.map(({ model }) => model)).toEqual(expect.arrayContaining(['digits', 'sentiment', 'tumor']))
})

describe.each(hosts)('$name', ({ start }) => {
  let host: RunningHost
  beforeAll(async () => {
    host = await start(serving)
  })
  afterAll(() => host[Symbol.asyncDispose]())

  test.each(versions)('$model $version answers as its file does', async ({ model, version, lines }) => {
    for (const { input, expected, tolerance } of lines) {
      const answer = await post(host.origin, `/models/${model}/versions/${version}/predict`, input)
      expect(json(answer)).toMatchObject({ prediction: expected.prediction, model_version: version })
      expect(Math.abs(Number(json(answer).confidence) - expected.confidence)).toBeLessThanOrEqual(tolerance)
    }
  })

  test.each(versions)(
    '$model $version answers its instances as its file does',
    async ({ model, version, lines }) => {
      const instances = lines.map(({ input }) => input)
      const answer = await post(host.origin, `/models/${model}/predict`, {
        instances,
        model_version: version,
      })
      const predictions = json(answer).predictions as { confidence: number }[]
      expect(predictions).toMatchObject(lines.map(({ expected: { prediction } }) => ({ prediction })))
      for (const [i, { expected, tolerance }] of lines.entries()) {
        expect(Math.abs(Number(predictions[i]?.confidence) - expected.confidence)).toBeLessThanOrEqual(
          tolerance,
        )
      }
    },
  )
})
