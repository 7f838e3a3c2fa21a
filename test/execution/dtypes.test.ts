import { describe, expect, it } from 'vitest'
import type { DType, Tensor } from '../../src/tensor/tensor.js'
import { castFrom, castTo, IDENTITY_DTYPES, identityModel } from '../onnx/models.js'
import { ELEM_TYPE, model, node, tensorValue, type ElemType } from '../onnx/writer.js'
import { modelFolder, openAt } from './support.js'

const write = modelFolder()

/** Six elements of each type, with its extremes. */
const samples: { readonly [D in DType]: Extract<Tensor, { dtype: D }>['data'] } = {
  float32: Float32Array.of(1.5, -2, 3, Infinity, NaN, -0),
  float64: Float64Array.of(1.5, -2, Number.MAX_VALUE, Infinity, NaN, -0),
  float16: Uint16Array.of(0x3c00, 0x4000, 0, 0x7c00, 0x7e00, 0x8000),
  int8: Int8Array.of(-128, -1, 0, 1, 2, 127),
  uint8: Uint8Array.of(0, 1, 2, 3, 254, 255),
  int16: Int16Array.of(-32768, -1, 0, 1, 2, 32767),
  uint16: Uint16Array.of(0, 1, 2, 3, 4, 65535),
  int32: Int32Array.of(-(2 ** 31), -1, 0, 1, 2, 2 ** 31 - 1),
  uint32: Uint32Array.of(0, 1, 2, 3, 4, 2 ** 32 - 1),
  int64: BigInt64Array.of(-(2n ** 63n), -1n, 0n, 1n, 2n ** 53n + 1n, 2n ** 63n - 1n),
  uint64: BigUint64Array.of(0n, 1n, 2n, 3n, 2n ** 53n + 1n, 2n ** 64n - 1n),
  bool: Uint8Array.of(0, 1, 1, 0, 0, 1),
  string: ['a', '', 'é\u{1f600}', ' ', '\n', '0'],
}

/** `y` is `x`, of a rank that is left open. */
function anyRank(dtype: DType): Uint8Array {
  return model({
    nodes: [node('Identity', ['x'], ['y'])],
    inputs: [tensorValue('x', dtype)],
    outputs: [tensorValue('y', dtype)],
  })
}

const sixInEachRank = [[6], [2, 3], [1, 2, 3], [1, 1, 2, 3], [1, 3, 1, 2, 1]]

describe.each(['thread', 'process', 'inline'] as const)('a session %s', (placement) => {
  it.each(IDENTITY_DTYPES)('takes and gives %s of every rank, and of no elements', async (dtype) => {
    const tensors = [
      { dtype, shape: [], data: samples[dtype].slice(4, 5) },
      ...sixInEachRank.map((shape) => ({ dtype, shape, data: samples[dtype].slice() })),
      ...[[0], [0, 3], [3, 0], [2, 0, 0]].map((shape) => ({
        dtype,
        shape,
        data: samples[dtype].slice(0, 0),
      })),
    ] as Tensor[]
    const session = await openAt[placement](write('identity', anyRank(dtype)))
    for (const x of tensors) {
      const expected = { dtype, shape: x.shape, data: x.data.slice() }
      expect((await session.run({ x })).outputs).toEqual({ y: expected })
    }
    await session.close()
  })

  it.each([{ shape: [] }, { shape: ['batch'] }, { shape: ['', 0, 'n', 2, 7] }])(
    'says of a tensor that it is $shape',
    async ({ shape }) => {
      const session = await openAt[placement](write('identity', identityModel({ dtype: 'uint16', shape })))
      expect(session.signature.inputs).toEqual([{ name: 'x', dtype: 'uint16', shape }])
      expect(session.signature.outputs).toEqual([{ name: 'y', dtype: 'uint16', shape }])
      await session.close()
    },
  )
})

/** Types of ONNX's that JavaScript has no array for, or onnxruntime no operators. */
const unsupported = (Object.keys(ELEM_TYPE) as ElemType[]).filter(
  (elemType) => !(IDENTITY_DTYPES as readonly string[]).includes(elemType),
)

describe('a type that can not be served', () => {
  it.each(unsupported)('is refused as an input and as an output, by its name: %s', async (elemType) => {
    for (const [role, name, bytes] of [
      ['output', 'y', castTo(elemType)],
      ['input', 'x', castFrom(elemType)],
    ] as const) {
      const { path } = write('cast', bytes)
      for (const placement of ['thread', 'process', 'inline'] as const) {
        await expect(openAt[placement]({ path, intraOpThreads: 1 })).rejects.toMatchObject({
          code: 'INVALID_MODEL',
          message: `${path}: ${role} "${name}" is ${elemType}, which can't be served. Cast it to a supported type inside the model.`,
        })
      }
    }
  })
})
