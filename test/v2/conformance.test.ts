import { createServing } from 'mlserving'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { fromFloat16 } from '../../src/tensor/float16.js'
import { elementCount, typedArrays, type Tensor } from '../../src/tensor/tensor.js'
import { datatypes } from '../../src/v2/datatype.js'
import { toRaw } from '../../src/v2/raw-tensor.js'
import { hosts, type RunningHost } from '../contract/hosts.js'
import { asAny } from '../contract/serving.js'
import { temporaryFolder } from '../execution/support.js'
import { quietLogger } from '../models/quiet-logger.js'
import { writeInto } from '../models/temporary-repository.js'
import { identityModel } from '../onnx/models.js'
import type { AnyServing } from '../../src/serving.js'
import { infer, inferBinary, partsOf } from './client.js'
import { conformanceModels, finite, runtimeAnswers } from './conformance-cases.js'

const models = conformanceModels()
const folder = temporaryFolder()
let serving: AnyServing
let doors: RunningHost[]
let asked = 0
/** Each request asks the next door. */
const origin = () => doors[asked++ % doors.length]?.origin ?? ''
const fileOf = (name: string) => `${folder}/${name}/1/model.onnx`
const count = { models: models.length, raw: 0, json: 0, binary: 0 }

beforeAll(async () => {
  for (const { name, dtype, shape } of models) {
    writeInto(folder, `${name}/1/model.onnx`, identityModel({ dtype, shape }))
    writeInto(folder, `${name}/model.json`, { placement: 'inline', maxQueueRows: 200_000 })
  }
  serving = asAny(createServing({ repository: folder, logger: quietLogger() }))
  await serving.ready()
  doors = await Promise.all(hosts.map(({ start }) => start(serving)))
})
afterAll(async () => {
  await Promise.all(doors.map((door) => door[Symbol.asyncDispose]()))
  await serving.close()
  console.log(`conformance: ${JSON.stringify(count)}`)
})

/** The elements as JSON, flat. */
function literals(tensor: Tensor): string[] {
  switch (tensor.dtype) {
    case 'string':
      return tensor.data.map((text) => JSON.stringify(text))
    case 'bool':
      return Array.from(tensor.data, (value) => (value === 1 ? 'true' : 'false'))
    case 'float16':
      return Array.from(tensor.data, (bits) => numberLiteral(fromFloat16(bits)))
    default:
      return Array.from<number | bigint, string>(tensor.data, numberLiteral)
  }
}

const numberLiteral = (value: number | bigint) => (Object.is(value, -0) ? '-0' : String(value))

function nested(flat: readonly string[], shape: readonly number[]): string {
  if (shape.length < 2) return `[${flat.join(',')}]`
  const size = elementCount(shape.slice(1))
  const parts = Array.from({ length: shape[0] ?? 0 }, (_, i) =>
    nested(flat.slice(i * size, (i + 1) * size), shape.slice(1)),
  )
  return `[${parts.join(',')}]`
}

/** The elements of a list of JSON in an answer, one by one as they are written. */
function written(text: string): string[] {
  const list = /"data":\[([^]*)\]\}\]\}$/.exec(text)?.[1] ?? 'no data'
  if (list === '') return []
  if (!list.startsWith('"')) return list.split(',')
  return (JSON.parse(`[${list}]`) as string[]).map((each) => JSON.stringify(each))
}

/** Whether the literals are of the same elements; at once, since of so many each assertion would take its time. */
function sameNumbers(given: readonly string[], expected: readonly string[], tensor: Tensor): boolean {
  return (
    given.length === expected.length &&
    given.every((literal, i) => {
      const right = expected[i] ?? ''
      return literal === right || bitsOf(literal, tensor) === bitsOf(right, tensor)
    })
  )
}

/** The same of all literals of a number. */
function bitsOf(literal: string, { dtype }: Tensor): unknown {
  if (literal === 'null') return literal
  if (dtype === 'float32' || dtype === 'float64') {
    const array = new typedArrays[dtype]([JSON.parse(literal) as number])
    return Buffer.from(array.buffer).toString('hex')
  }
  if (dtype === 'float16') return Object.is(Number(literal), -0) ? '-0' : Number(literal)
  return literal
}

describe.each(models)('$name', (model) => {
  const { name, dtype, tensors } = model
  const input = (tensor: Tensor) => ({ name: 'x', datatype: datatypes[dtype], shape: tensor.shape })

  test('raw bytes answer what the runtime does, bit for bit', async () => {
    const expected = await runtimeAnswers(fileOf(name), tensors)
    for (const [i, tensor] of tensors.entries()) {
      const raw = toRaw(tensor)
      const inputs = [{ ...input(tensor), parameters: { binary_data_size: raw.length } }]
      const request = { inputs, parameters: { binary_data_output: true } }
      const answer = await inferBinary(origin(), name, request, [raw])
      expect(answer.status, answer.text).toBe(200)
      const { head, raws } = partsOf(answer)
      expect(head.outputs[0]).toMatchObject({
        name: 'y',
        datatype: datatypes[dtype],
        shape: expected[i]?.shape,
      })
      const rightBytes = expected[i] && Buffer.from(toRaw(expected[i])).equals(raws.y ?? Buffer.of())
      expect(rightBytes, `the bytes of shape ${tensor.shape.join()}`).toBe(true)
      count.raw++
      count.binary++
    }
  })

  test('JSON answers what the runtime does, flat and nested', async () => {
    const given = tensors.map(finite)
    const expected = await runtimeAnswers(fileOf(name), given)
    for (const [i, tensor] of given.entries()) {
      const right = expected[i]
      if (right === undefined) continue
      const flat = literals(tensor)
      for (const data of new Set([`[${flat.join(',')}]`, nested(flat, tensor.shape)])) {
        const head = JSON.stringify(input(tensor)).slice(0, -1)
        const answer = await infer(origin(), name, `{"inputs":[${head},"data":${data}}]}`)
        expect(answer.status, answer.text.slice(0, 500)).toBe(200)
        expect(partsOf(answer).head.outputs[0]).toMatchObject({ shape: right.shape })
        expect(sameNumbers(written(answer.text), literals(right), right)).toBe(true)
        count.json++
      }
    }
  })

  test('raw bytes in and JSON out agree, with null for what is no number', async () => {
    for (const tensor of tensors.slice(0, 3)) {
      const raw = toRaw(tensor)
      const inputs = [{ ...input(tensor), parameters: { binary_data_size: raw.length } }]
      const answer = await inferBinary(origin(), name, { inputs }, [raw])
      const expected = literals(tensor).map((literal) => (/NaN|Infinity/.test(literal) ? 'null' : literal))
      const right = dtype === 'string' ? literals(tensor) : expected
      expect(sameNumbers(written(answer.text), right, tensor)).toBe(true)
      count.binary++
    }
  })
})
