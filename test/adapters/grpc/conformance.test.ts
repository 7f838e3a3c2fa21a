import { createServing } from 'mlserving'
import { grpcServer, type GrpcServer } from 'mlserving/grpc'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { AnyServing } from '../../../src/serving.js'
import type { Tensor } from '../../../src/tensor/tensor.js'
import { datatypes } from '../../../src/v2/datatype.js'
import { toRaw } from '../../../src/v2/raw-tensor.js'
import { asAny } from '../../contract/serving.js'
import { temporaryFolder } from '../../execution/support.js'
import { quietLogger } from '../../models/quiet-logger.js'
import { writeInto } from '../../models/temporary-repository.js'
import { identityModel } from '../../onnx/models.js'
import { conformanceModels, runtimeAnswers } from '../../v2/conformance-cases.js'
import { TestClient, type Plain } from './client.js'

const models = conformanceModels()
const folder = temporaryFolder()
let serving: AnyServing
let server: GrpcServer
let client: TestClient
const count = { models: models.length, raw: 0, typed: 0 }

beforeAll(async () => {
  for (const { name, dtype, shape } of models) {
    writeInto(folder, `${name}/1/model.onnx`, identityModel({ dtype, shape }))
    writeInto(folder, `${name}/model.json`, { placement: 'inline', maxQueueRows: 200_000 })
  }
  serving = asAny(createServing({ repository: folder, logger: quietLogger() }))
  await serving.ready()
  server = grpcServer(serving, { port: 0 })
  client = new TestClient(await server.listen())
})
afterAll(async () => {
  client.close()
  await server.close()
  await serving.close()
  console.log(`gRPC conformance: ${JSON.stringify(count)}`)
})

/** A tensor's elements as typed contents of the other implementation's; undefined for float16, which has none. */
function typedContents({ dtype, data }: Tensor): object | undefined {
  switch (dtype) {
    case 'float16':
      return undefined
    case 'float32':
      return { fp32_contents: Array.from(data) }
    case 'float64':
      return { fp64_contents: Array.from(data) }
    case 'bool':
      return { bool_contents: Array.from(data, (value) => value === 1) }
    case 'string':
      return { bytes_contents: data.map((text) => Buffer.from(text)) }
    case 'int64':
      return { int64_contents: Array.from(data, String) }
    case 'uint64':
      return { uint64_contents: Array.from(data, String) }
    case 'int8':
    case 'int16':
    case 'int32':
      return { int_contents: Array.from(data) }
    default:
      return { uint_contents: Array.from(data) }
  }
}

/** Without the NaN whose bits a number of JavaScript does not keep. */
function withoutNaN(tensor: Tensor): Tensor {
  const { dtype, shape, data } = tensor
  if (dtype !== 'float32' && dtype !== 'float64') return tensor
  return { dtype, shape, data: data.map((value) => (Number.isNaN(value) ? 0.1 : value)) } as Tensor
}

describe.each(models)('$name', ({ name, dtype, tensors }) => {
  const input = ({ shape }: Tensor, more: Plain = {}) => ({
    name: 'x',
    datatype: datatypes[dtype],
    shape,
    ...more,
  })
  const runtime = (given: readonly Tensor[]) => runtimeAnswers(`${folder}/${name}/1/model.onnx`, given)

  /** Whether an answer is the runtime's, shape and bytes. */
  function expectSame(answer: Plain, right: Tensor | undefined): void {
    if (right === undefined) throw new Error('the runtime gave no answer')
    const shape = right.shape.map(String)
    expect(answer.outputs).toMatchObject([{ name: 'y', datatype: datatypes[dtype], shape }])
    const [raw] = answer.raw_output_contents as Buffer[]
    expect(raw?.equals(toRaw(right)), `the bytes of shape ${shape.join()}`).toBe(true)
  }

  test('raw contents answer what the runtime does, bit for bit', async () => {
    const expected = await runtime(tensors)
    for (const [i, tensor] of tensors.entries()) {
      const raw_input_contents = [Buffer.from(toRaw(tensor))]
      const answer = await client.call('ModelInfer', {
        model_name: name,
        inputs: [input(tensor)],
        raw_input_contents,
      })
      expectSame(answer, expected[i])
      count.raw++
    }
  })

  // It has none.
  if (dtype === 'float16') return
  test('typed contents answer what the runtime does', async () => {
    const given = tensors.map(withoutNaN)
    const expected = await runtime(given)
    for (const [i, tensor] of given.entries()) {
      const contents = typedContents(tensor)
      const request = { model_name: name, inputs: [input(tensor, { contents })] }
      expectSame(await client.call('ModelInfer', request), expected[i])
      const parameters = { binary_data_output: { bool_param: false } }
      const [output] = (await client.call('ModelInfer', { ...request, parameters })).outputs as {
        contents: object
      }[]
      expect(output?.contents).toMatchObject(contents ?? {})
      count.typed++
    }
  })
})
