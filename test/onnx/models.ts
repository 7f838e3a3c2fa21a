/** Small deterministic models for tests and benches; each docstring gives the shapes. */
import {
  type ElemType,
  type Dim,
  type Encoded,
  type ModelOptions,
  ELEM_TYPE,
  externalTensor,
  float32,
  graph,
  int64,
  model,
  node,
  sequenceType,
  tensorType,
  tensorValue,
  value,
} from './writer.js'
import { random, weights } from './random.js'

export { imageClassifier } from './image-classifier.js'
export { random } from './random.js'
export { textClassifier } from './text-classifier.js'
export { transformer } from './transformer.js'
export { zipMapModel } from './zip-map-model.js'

/** onnxruntime-node's element types; its Identity runs on all of them. */
export const IDENTITY_DTYPES = [
  'float32',
  'float64',
  'float16',
  'int8',
  'uint8',
  'int16',
  'uint16',
  'int32',
  'uint32',
  'int64',
  'uint64',
  'bool',
  'string',
] as const satisfies readonly ElemType[]

/** `y` is `x`, both of `shape` ([batch, 3] by default). */
export function identityModel({
  dtype = 'float32',
  shape = ['batch', 3],
  ...options
}: { dtype?: ElemType; shape?: readonly Dim[] } & ModelOptions = {}): Encoded {
  return model(
    {
      nodes: [node('Identity', ['x'], ['y'])],
      inputs: [tensorValue('x', dtype, shape)],
      outputs: [tensorValue('y', dtype, shape)],
    },
    options,
  )
}

/** A chain of dense layers with a ReLU between: `x` float32 [batch, first size], `y` float32 [batch, last size]. */
export function mlp(sizes: readonly [number, number, ...number[]] = [64, 32, 2], seed = 1): Encoded {
  const next = random(seed)
  const layers = sizes.slice(1).map((size, i) => ({ i, size, fanIn: sizes[i] ?? 0 }))
  const last = layers.length - 1
  return model({
    nodes: layers.flatMap(({ i }) => [
      node('Gemm', [i === 0 ? 'x' : `a${i - 1}`, `w${i}`, `b${i}`], [i === last ? 'y' : `g${i}`]),
      ...(i === last ? [] : [node('Relu', [`g${i}`], [`a${i}`])]),
    ]),
    inputs: [tensorValue('x', 'float32', ['batch', sizes[0]])],
    outputs: [tensorValue('y', 'float32', ['batch', sizes.at(-1) ?? 0])],
    initializers: layers.flatMap(({ i, size, fanIn }) => [
      weights(`w${i}`, [fanIn, size], fanIn, next),
      weights(`b${i}`, [size], 1e4, next),
    ]),
  })
}

export interface ConvolutionOptions {
  /** Width and height that the 8x8 input is enlarged to; a multiple of 8. */
  readonly size?: number
  readonly channels?: number
  /** How many of the heavy layers (channels to channels) there are. */
  readonly layers?: number
  readonly seed?: number
}

/**
 * An image classifier with a small request body: `x` float32 [batch, 1, 8, 8] is enlarged inside the graph before
 * its 3x3 convolutions; `y` float32 [batch, 10]. With the defaults a row takes 20 to 30 ms of one core.
 */
export function convolution({
  size = 64,
  channels = 64,
  layers = 7,
  seed = 1,
}: ConvolutionOptions = {}): Encoded {
  const next = random(seed)
  const depth = Array.from({ length: layers + 1 }, (_, i) => i)
  const attributes = { kernel_shape: { ints: [3, 3] }, pads: { ints: [1, 1, 1, 1] } }
  return model({
    nodes: [
      node('Resize', ['x', '', 'scales'], ['a'], { attributes: { mode: { string: 'nearest' } } }),
      ...depth.flatMap((i) => [
        node('Conv', [i === 0 ? 'a' : `a${i - 1}`, `w${i}`], [`c${i}`], { attributes }),
        node('Relu', [`c${i}`], [`a${i}`]),
      ]),
      node('GlobalAveragePool', [`a${layers}`], ['pooled']),
      node('Flatten', ['pooled'], ['flat']),
      node('Gemm', ['flat', 'w', 'b'], ['y']),
    ],
    inputs: [tensorValue('x', 'float32', ['batch', 1, 8, 8])],
    outputs: [tensorValue('y', 'float32', ['batch', 10])],
    initializers: [
      float32('scales', [4], [1, 1, size / 8, size / 8]),
      ...depth.map((i) => {
        const fanIn = i === 0 ? 1 : channels
        return weights(`w${i}`, [channels, fanIn, 3, 3], fanIn * 9, next)
      }),
      weights('w', [channels, 10], channels, next),
      weights('b', [10], 10, next),
    ],
  })
}

/** Multiplications of {@link loopModel} a millisecond, on one core of a server of 2024. */
const LOOPS_PER_MS = 115

/**
 * Holds a session busy: `y` is `x`, both float32 [batch, 4], after a Loop of multiplications by the unit matrix
 * that takes about `ms` of native code for one row, and twice that for eight.
 */
export function loopModel({ ms = 1000 }: { readonly ms?: number } = {}): Encoded {
  const width = 256
  const unit = (rows: number, columns: number) =>
    Array.from({ length: rows * columns }, (_, i) => (Math.floor(i / columns) === i % columns ? 1 : 0))
  const body = graph({
    nodes: [node('Identity', ['go'], ['again']), node('MatMul', ['state', 'unit'], ['following'])],
    inputs: [
      tensorValue('i', 'int64', []),
      tensorValue('go', 'bool', []),
      tensorValue('state', 'float32', ['batch', width]),
    ],
    outputs: [tensorValue('again', 'bool', []), tensorValue('following', 'float32', ['batch', width])],
    initializers: [float32('unit', [width, width], unit(width, width))],
  })
  return model({
    nodes: [
      node('MatMul', ['x', 'widen'], ['begin']),
      node('Loop', ['iterations', '', 'begin'], ['end'], { attributes: { body: { graph: body } } }),
      node('MatMul', ['end', 'narrow'], ['y']),
    ],
    inputs: [tensorValue('x', 'float32', ['batch', 4])],
    outputs: [tensorValue('y', 'float32', ['batch', 4])],
    initializers: [
      int64('iterations', [], [Math.ceil(ms * LOOPS_PER_MS)]),
      float32('widen', [4, width], unit(4, width)),
      float32('narrow', [width, 4], unit(width, 4)),
    ],
  })
}

/** `y` = `x` + w, both float32 [batch, 3], where the three float32 of w are in the file at `location`. */
export function addExternal(location: string): Encoded {
  return model({
    nodes: [node('Add', ['x', 'w'], ['y'])],
    inputs: [tensorValue('x', 'float32', ['batch', 3])],
    outputs: [tensorValue('y', 'float32', ['batch', 3])],
    initializers: [externalTensor('w', 'float32', [3], location)],
  })
}

/** `y` is `x`, float32 [batch, 2], as another type; see {@link int4Output} for the two that abort. */
export function castTo(elemType: ElemType): Encoded {
  return castModel('float32', elemType)
}

/** `y`, float32 [batch, 2], is `x` of another type. */
export function castFrom(elemType: ElemType): Encoded {
  return castModel(elemType, 'float32')
}

function castModel(from: ElemType, to: ElemType): Encoded {
  return model(
    {
      nodes: [node('Cast', ['x'], ['y'], { attributes: { to: { int: ELEM_TYPE[to] } } })],
      inputs: [tensorValue('x', from, ['batch', 2])],
      outputs: [tensorValue('y', to, ['batch', 2])],
    },
    { irVersion: 13, opsets: { '': 25 } },
  )
}

/** `y` = `x` + [1, 2, 3], both int64 [batch, 3]. */
export function addInt64(): Encoded {
  return model({
    nodes: [node('Add', ['x', 'one_two_three'], ['y'])],
    inputs: [tensorValue('x', 'int64', ['batch', 3])],
    outputs: [tensorValue('y', 'int64', ['batch', 3])],
    initializers: [int64('one_two_three', [3], [1, 2, 3])],
  })
}

/**
 * `a` float32 [batch, 2] and `b` int64 [batch, 1]; `sum` float32 [batch, 1] is a row's a0 + a1 + b, `next` int64
 * [batch, 1] is b + 1.
 */
export function twoInputs(): Encoded {
  return model({
    nodes: [
      node('ReduceSum', ['a', 'columns'], ['a_sum'], { attributes: { keepdims: { int: 1 } } }),
      node('Cast', ['b'], ['b_float'], { attributes: { to: { int: 1 } } }),
      node('Add', ['a_sum', 'b_float'], ['sum']),
      node('Add', ['b', 'one'], ['next']),
    ],
    inputs: [tensorValue('a', 'float32', ['batch', 2]), tensorValue('b', 'int64', ['batch', 1])],
    outputs: [tensorValue('sum', 'float32', ['batch', 1]), tensorValue('next', 'int64', ['batch', 1])],
    initializers: [int64('columns', [1], [1]), int64('one', [1], [1])],
  })
}

/** `y` float32 [batch, 3, 1, 1] is the mean of each channel of `x`, float32 [batch, 3, size, size]. */
export function channelMeans(size = 224): Encoded {
  return model({
    nodes: [node('GlobalAveragePool', ['x'], ['y'])],
    inputs: [tensorValue('x', 'float32', ['batch', 3, size, size])],
    outputs: [tensorValue('y', 'float32', ['batch', 3, 1, 1])],
  })
}

/** `y` = 2 `x`, both float32 [1, 4]: there is no batch axis to grow. */
export function fixedBatch(): Encoded {
  return double([1, 4])
}

/** `y` = 2 `x`, both float32 [], a single number. */
export function scalarInput(): Encoded {
  return double([])
}

function double(shape: readonly number[]): Encoded {
  return model({
    nodes: [node('Add', ['x', 'x'], ['y'])],
    inputs: [tensorValue('x', 'float32', shape)],
    outputs: [tensorValue('y', 'float32', shape)],
  })
}

/**
 * `x` float32 [batch, 2], `y` int4 [batch, 2]. Loads; ABORTS THE PROCESS when it is run, so do that in a child
 * process only.
 */
export function int4Output(): Encoded {
  return castTo('int4')
}

/** `x` float32 [batch, 3], `y` a sequence of two such tensors, which onnxruntime-node can't return. */
export function sequenceOutput(): Encoded {
  return model({
    nodes: [node('SequenceConstruct', ['x', 'x'], ['y'])],
    inputs: [tensorValue('x', 'float32', ['batch', 3])],
    outputs: [value('y', sequenceType(tensorType('float32', ['batch', 3])))],
  })
}
