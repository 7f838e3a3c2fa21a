import type * as Ort from 'onnxruntime-node'
import { fromFloat16 } from '../../src/tensor/float16.js'
import type { DType, Tensor } from '../../src/tensor/tensor.js'
import { elementCount, typedArrays } from '../../src/tensor/tensor.js'
import { IDENTITY_DTYPES } from '../onnx/models.js'
import { random } from '../onnx/random.js'

/** A model whose output is its input, and tensors that it is asked. */
export interface ConformanceModel {
  readonly name: string
  readonly dtype: DType
  /** As the model states it: names are dimensions that vary. */
  readonly shape: readonly (number | string)[]
  readonly tensors: readonly Tensor[]
}

/** Of every element type: ranks 0 to 5 with dimensions that vary, and one without any. */
export function conformanceModels(): ConformanceModel[] {
  return IDENTITY_DTYPES.flatMap((dtype, i) => {
    const next = random(i + 1)
    const model = (name: string, shape: ConformanceModel['shape'], shapes: readonly number[][]) => ({
      name: `${dtype}-${name}`,
      dtype,
      shape,
      tensors: shapes.map((each) => ({ dtype, shape: each, data: elements(dtype, each, next) }) as Tensor),
    })
    return [
      model('scalar', [], [[], []]),
      ...[1, 2, 3, 4, 5].map((rank) => {
        const names = Array.from({ length: rank }, (_, axis) => (axis === 0 ? 'batch' : `d${axis}`))
        return model(`rank${rank}`, names, shapesOf(rank, dtype === 'float32' ? 150_528 : 10_000, next))
      }),
      model('fixed', [2, 3], [[2, 3]]),
    ]
  })
}

/** Of one, of a few, of none along each axis, and of many elements. */
function shapesOf(rank: number, many: number, next: () => number): number[][] {
  const few = () => Array.from({ length: rank }, () => 1 + Math.floor((next() + 1) * 2))
  const empty = Array.from({ length: rank }, (_, axis) => few().map((length, i) => (i === axis ? 0 : length)))
  const own = few().slice(0, -1)
  const large = [...own, Math.ceil(many / elementCount(own))]
  return [Array<number>(rank).fill(1), few(), few(), ...empty, large]
}

const texts = ['', 'a', 'žluťoučký', '\u{1f40e}', '"\\\n\t', '0', ' ', 'x'.repeat(300), '\u2028', '\ufeff']

/** Any bits there are: NaN with their payloads, infinities, subnormal numbers and the largest integers as well. */
function elements(dtype: DType, shape: readonly number[], next: () => number): Tensor['data'] {
  const length = elementCount(shape)
  const pick = (count: number) => Math.floor(((next() + 1) / 2) * count)
  if (dtype === 'string') return Array.from({ length }, () => texts[pick(texts.length)] ?? '')
  const data = new typedArrays[dtype](length)
  const bytes = new Uint8Array(data.buffer)
  for (let i = 0; i < bytes.length; i++) bytes[i] = dtype === 'bool' ? pick(2) : pick(256)
  if (length > 2) data.set(extremes[dtype] as never)
  return data
}

const extremes = {
  float32: [-0, Infinity, NaN],
  float64: [-0, 5e-324, -Infinity],
  float16: [0x8000, 0x7c00, 0x0001],
  int8: [-128, 127],
  uint8: [0, 255],
  int16: [-32768, 32767],
  uint16: [0, 65535],
  int32: [-2147483648, 2147483647],
  uint32: [0, 4294967295],
  int64: [-(2n ** 63n), 2n ** 63n - 1n, 2n ** 53n + 1n],
  uint64: [0n, 2n ** 64n - 1n, 2n ** 53n + 1n],
  bool: [0, 1],
}

/** What JSON can say of a tensor: without NaN and infinities. */
export function finite(tensor: Tensor): Tensor {
  const { dtype, shape, data } = tensor
  if (dtype === 'float32' || dtype === 'float64')
    return { dtype, shape, data: data.map((value) => (Number.isFinite(value) ? value : 0.1)) } as Tensor
  if (dtype === 'float16')
    return { dtype, shape, data: data.map((bits) => (Number.isFinite(fromFloat16(bits)) ? bits : 1)) }
  return tensor
}

process.env.ORT_DISABLE_TELEMETRY = '1'

/** What the runtime itself answers for a model of an input `x` and an output `y`. */
export async function runtimeAnswers(file: string, tensors: readonly Tensor[]): Promise<Tensor[]> {
  const ort = await import('onnxruntime-node')
  const session = await ort.InferenceSession.create(file, { intraOpNumThreads: 1 })
  const answers: Tensor[] = []
  for (const { dtype, shape, data } of tensors) {
    const x = { type: dtype, dims: shape, data, location: 'cpu' } as unknown as Ort.Tensor
    const { y } = await session.run({ x })
    answers.push({ dtype, shape: y?.dims, data: y?.data } as unknown as Tensor)
  }
  await session.release()
  return answers
}
