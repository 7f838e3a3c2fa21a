import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Feeds, Tensor } from '../../src/tensor/tensor.js'
import {
  addInt64,
  castFrom,
  castTo,
  convolution,
  fixedBatch,
  identityModel,
  imageClassifier,
  mlp,
  scalarInput,
  textClassifier,
  transformer,
} from '../onnx/models.js'
import { exampleModels, frameworks, startOurs, transportsOf } from './our-server.js'
import { tritonClient } from './python-process.js'
import { answerOfRuntime } from './runtime.js'
import { numbers, sample } from './samples.js'
import { styles, type Subject } from './subject.js'
import { TritonClient, TritonClientProcess } from './triton-client.js'

const texts = ['I love it', 'Das Schlimmste, was ich je erlebt habe: "nie wieder" 😡', '']
const text: Tensor = { dtype: 'string', shape: [3], data: texts }

/** Models that are made for this, by name: what they are and what they are asked. */
const made: Readonly<Record<string, readonly [model: Uint8Array, feeds: Feeds]>> = {
  rank_0: [scalarInput(), { x: numbers([]) }],
  rank_1: [identityModel({ shape: ['n'] }), { x: numbers([7]) }],
  rank_2: [mlp(), { x: numbers([5, 64]) }],
  rank_3: [transformer(), { x: numbers([2, 32, 256]) }],
  rank_4: [convolution({ layers: 1, channels: 4 }), { x: numbers([2, 1, 8, 8]) }],
  rank_5: [identityModel({ shape: ['batch', 2, 'a', 'b', 2] }), { x: numbers([2, 2, 3, 1, 2]) }],
  no_batch: [fixedBatch(), { x: numbers([1, 4]) }],
  picture: [identityModel({ shape: ['batch', 3, 224, 224] }), { x: numbers([1, 3, 224, 224]) }],
  image_classifier: [imageClassifier(), { x: numbers([1, 3, 64, 64]) }],
  text_classifier: [
    textClassifier(),
    {
      ids: { dtype: 'int64', shape: [2, 32], data: BigInt64Array.from({ length: 64 }, (_, i) => BigInt(i)) },
    },
  ],
  beyond_53_bits: [
    addInt64(),
    { x: { dtype: 'int64', shape: [1, 3], data: BigInt64Array.of(2n ** 53n, -(2n ** 63n), 2n ** 63n - 4n) } },
  ],
  from_float16: [castFrom('float16'), { x: sample('float16', [1, 2]) }],
  to_float16: [castTo('float16'), { x: numbers([2, 2]) }],
  from_bool: [castFrom('bool'), { x: sample('bool', [2, 2]) }],
  to_int8: [castTo('int8'), { x: numbers([2, 2]) }],
}

interface Case {
  readonly model: string
  readonly artifact: Uint8Array
  readonly feeds: Feeds
  /** Default: all. */
  readonly outputs?: readonly string[]
}

const example = (path: string) => readFileSync(join(exampleModels, path, 'model.onnx'))

const cases: readonly Case[] = [
  ...Object.entries(made).map(([model, [artifact, feeds]]) => ({ model, artifact, feeds })),
  { model: 'digits', artifact: example('digits/1'), feeds: { image: numbers([2, 1, 28, 28]) } },
  { model: 'sentiment', artifact: example('sentiment/2.0'), feeds: { text } },
  // onnxruntime-node can't give the other output, which is no tensor.
  {
    model: 'tumor',
    artifact: example('tumor/1'),
    feeds: { features: numbers([4, 30]) },
    outputs: ['output_label'],
  },
]

const hasFloat16 = (feeds: Feeds) => Object.values(feeds).some(({ dtype }) => dtype === 'float16')

describe.skipIf(tritonClient === undefined)(
  'what onnxruntime-node answers is what tritonclient is answered',
  () => {
    const expected = new Map<string, Readonly<Record<string, Tensor>>>()
    let python: TritonClientProcess
    beforeAll(async () => {
      python = new TritonClientProcess(tritonClient ?? '')
      for (const { model, artifact, feeds, outputs } of cases) {
        expected.set(model, await answerOfRuntime(artifact, feeds, outputs))
      }
    })
    afterAll(() => python[Symbol.asyncDispose]())

    describe.each(frameworks)('by mlserving in %s', (framework) => {
      let subject: Subject
      beforeAll(async () => {
        const artifacts = Object.entries(made).map(([model, [artifact]]) => [model, artifact] as const)
        subject = await startOurs(framework, Object.fromEntries(artifacts))
      })
      afterAll(() => subject[Symbol.asyncDispose]())

      for (const transport of transportsOf(framework)) {
        describe.each(styles)(`over ${transport}, %s`, (style) => {
          const client = () => new TritonClient(python, transport, style, subject.addresses[transport] ?? '')
          it.each(cases)('$model, in bytes', (asked) => answersAlike(client(), asked, true))
          // Over gRPC tritonclient has nothing but bytes.
          const inJson = transport === 'http' ? cases.filter(({ feeds }) => !hasFloat16(feeds)) : []
          it.each(inJson)('$model, in JSON', (asked) => answersAlike(client(), asked, false))
        })
      }
    })

    async function answersAlike(
      client: TritonClient,
      { model, feeds, outputs }: Case,
      binary: boolean,
    ): Promise<void> {
      const wanted = expected.get(model) ?? {}
      const { tensors } = await client.infer({
        model,
        inputs: feeds,
        binary,
        outputs: (outputs ?? Object.keys(wanted)).map((name) => ({ name, binary })),
      })
      expect(tensors).toEqual(wanted)
    }
  },
)
