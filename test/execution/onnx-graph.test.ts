import type * as Ort from 'onnxruntime-node'
import { beforeAll, describe, expect, it } from 'vitest'
import { OnnxFormatError, dtypeOf, readOnnx, rewriteZipMaps } from '../../src/execution/onnx-graph.js'
import * as models from '../onnx/models.js'
import {
  ELEM_TYPE,
  type Encoded,
  concat,
  externalTensor,
  field,
  float32,
  graph,
  mapType,
  model,
  node,
  optionalType,
  sequenceType,
  tensor,
  tensorType,
  tensorValue,
  value,
} from '../onnx/writer.js'

process.env.ORT_DISABLE_TELEMETRY = '1'
let ort: typeof Ort
beforeAll(async () => {
  ort = await import('onnxruntime-node')
})

const empty = { nodes: [], inputs: [], outputs: [] }

describe('readOnnx', () => {
  it('reads what stands beside the graph', () => {
    const bytes = model(empty, {
      irVersion: 9,
      producer: 'pytorch',
      opsets: { '': 20, 'ai.onnx.ml': 3 },
      metadata: { author: 'Zoë', labels: '["cat","dog"]', toString: 'y' },
    })
    const read = readOnnx(bytes)
    expect(read).toMatchObject({ irVersion: 9, producer: 'pytorch' })
    expect(read.opsets).toEqual([
      { domain: '', version: 20 },
      { domain: 'ai.onnx.ml', version: 3 },
    ])
    expect({ ...read.metadata }).toEqual({ author: 'Zoë', labels: '["cat","dog"]', toString: 'y' })
  })

  it('keeps metadata under any key, and inherits none', () => {
    const entry = field(14, concat([field(1, '__proto__'), field(2, 'a label')]))
    const { metadata } = readOnnx(concat([model(empty), entry]))
    expect(Object.getPrototypeOf(metadata)).toBeNull()
    expect(Object.entries(metadata)).toEqual([['__proto__', 'a label']])
  })

  it.each([
    ['identity', models.identityModel({ dtype: 'uint8', shape: ['batch', '', 3] })],
    ['a scalar', models.scalarInput()],
    ['a convolution', models.convolution({ size: 8, channels: 2, layers: 1 })],
    ['two inputs', models.twoInputs()],
    ['a loop', models.loopModel()],
    ['a classifier', models.zipMapModel()],
    ['int4', models.int4Output()],
    ['inputs with defaults', withDefault()],
  ])('describes inputs and outputs as the runtime does: %s', async (_, bytes) => {
    const session = await ort.InferenceSession.create(bytes, { logSeverityLevel: 3 })
    const plain = ({ name, kind, elemType, dims }: ReturnType<typeof readOnnx>['inputs'][number]) =>
      kind === 'tensor'
        ? { name, isTensor: true, type: dtypeOf(elemType), shape: dims }
        : { name, isTensor: false }
    const read = readOnnx(bytes)
    expect(read.inputs.map(plain)).toEqual(session.inputMetadata)
    expect(read.outputs.map(plain)).toEqual(session.outputMetadata)
    await session.release()
  })

  it('tells the kinds of values apart', () => {
    const outputs = {
      sequence: sequenceType(tensorType('float32', [])),
      map: mapType('int64', tensorType('float32', [])),
      optional: optionalType(tensorType('float32', [])),
      sparse: field(8, concat([field(1, ELEM_TYPE.float64), field(2, field(1, field(1, 7)))])),
      tensor: tensorType('int8'),
      unknown: undefined,
    }
    const values = Object.entries(outputs).map(([name, type]) => value(name, type))
    const read = readOnnx(model({ ...empty, outputs: values })).outputs
    expect(read.map(({ name, kind }) => [name, kind])).toEqual(
      Object.keys(outputs).map((kind) => [kind, kind]),
    )
    expect(read[3]).toMatchObject({ elemType: ELEM_TYPE.float64, dims: [7] })
    expect(read[4]).toMatchObject({ elemType: ELEM_TYPE.int8, dims: undefined })
    expect(read[0]).toMatchObject({ elemType: undefined, dims: undefined })
  })

  it('finds external data wherever tensors are', () => {
    const external = (location: string) => externalTensor(location, 'float32', [1], location)
    const constant = (location: string) =>
      node('Constant', [], [location], { attributes: { value: { tensor: external(location) } } })
    const sparse = concat([field(1, external('values.bin')), field(2, external('indices.bin'))])
    const body = graph({ ...empty, nodes: [constant('inner.bin')], initializers: [external('weights.bin')] })
    const bytes = concat([
      model({
        ...empty,
        nodes: [
          constant('constant.bin'),
          node('If', ['c'], [], {
            attributes: { then_branch: { graph: body }, else_branch: { graph: body } },
          }),
        ],
        initializers: [
          external('weights.bin'),
          external('weights.bin'),
          tensor('inside', 'string', [2], ['a', 'b']),
        ],
      }),
      field(25, field(7, constant('function.bin'))),
    ])
    const { externalData } = readOnnx(bytes)
    expect([...externalData].sort()).toEqual(['constant.bin', 'function.bin', 'inner.bin', 'weights.bin'])

    const sparseGraph = concat([field(7, field(15, sparse)), field(1, 8)])
    expect(readOnnx(sparseGraph).externalData).toEqual(['values.bin', 'indices.bin'])
  })

  it('lists the ZipMaps with their classes', () => {
    expect(readOnnx(models.zipMapModel({ classes: ['no', 'yes'] })).zipMaps).toEqual([
      { index: 1, name: 'zip', input: 'scores', output: 'probabilities', classes: ['no', 'yes'] },
    ])
    expect(readOnnx(models.zipMapModel({ classes: [2, -1] })).zipMaps[0]?.classes).toEqual([2n, -1n])
    expect(readOnnx(models.mlp()).zipMaps).toEqual([])
  })

  it('passes over 100 MB of weights without looking at them', () => {
    const weights = new Float32Array(2.5e6)
    const initializers = Array.from({ length: 10 }, (_, i) => float32(`w${i}`, [weights.length], weights))
    const bytes = model({ ...empty, initializers })
    expect(bytes.length).toBeGreaterThan(1e8)
    const times = Array.from({ length: 5 }, () => {
      const started = performance.now()
      readOnnx(bytes)
      return performance.now() - started
    })
    // Copying or hashing the bytes would take ten times as long.
    expect(Math.min(...times)).toBeLessThan(5)
  })
})

describe('damaged bytes', () => {
  /** Models, and how many fields of theirs come after the graph. */
  const small: readonly (readonly [Encoded, number])[] = [
    [models.identityModel({ metadata: { author: 'me' } }), 2],
    [models.zipMapModel(), 2],
    [models.zipMapModel({ classes: [1, 2] }), 2],
    [models.twoInputs(), 1],
    [models.mlp([4, 3, 2]), 1],
    [models.sequenceOutput(), 1],
  ]

  /** Whether the bytes could be read; anything thrown but an OnnxFormatError fails the test. */
  function readable(bytes: Uint8Array): boolean {
    try {
      readOnnx(bytes)
      rewriteZipMaps(bytes)
      return true
    } catch (error) {
      expect(error).toBeInstanceOf(OnnxFormatError)
      return false
    }
  }

  it.each(small)('are refused at every length that cuts the graph or another field', (bytes, fieldsAfter) => {
    const lengths = Array.from({ length: bytes.length + 1 }, (_, length) => length)
    const accepted = lengths.filter((length) => readable(bytes.subarray(0, length)))
    expect(accepted).toHaveLength(fieldsAfter + 1)
    expect(accepted.at(-1)).toBe(bytes.length)
  })

  it('never do worse than an OnnxFormatError in 2,000 mutations', () => {
    const next = models.random(7)
    const pick = (below: number) => Math.floor(((next() + 1) / 2) * below)
    let refused = 0
    for (let i = 0; i < 2000; i++) {
      const bytes = (small[i % small.length]?.[0] ?? new Uint8Array()).slice()
      for (let changes = pick(4); changes >= 0; changes--) bytes[pick(bytes.length)] = pick(256)
      if (!readable(bytes)) refused++
    }
    expect(refused).toBeGreaterThan(200)
    expect(refused).toBeLessThan(2000)
  })

  it.each<[string, Encoded, RegExp, number]>([
    ['nothing at all', new Uint8Array(), /no graph/, 0],
    ['a model without a graph', field(1, 8), /no graph/, 2],
    ['two graphs', concat([model(empty), field(7, new Uint8Array())]), /a second graph/, model(empty).length],
    ['text', new TextEncoder().encode('<html>404</html>'), /a group in ModelProto/, 0],
    ['a group', Uint8Array.of((7 << 3) | 3), /a group in ModelProto, field 7/, 0],
    ['wire type 7', Uint8Array.of((7 << 3) | 7), /the unknown wire type 7/, 0],
    ['field 0', Uint8Array.of(0, 0), /a field number of 0/, 0],
    ['a number of eleven bytes', Uint8Array.of(8, ...Array<number>(11).fill(0x80)), /more than 64 bits/, 1],
    ['a length of 2^60', concat([field(1, 8), Uint8Array.of(0x3a), field(15, 2n ** 60n)]), /announced/, 2],
    ['a number as the graph', field(7, 5), /GraphProto expected, wire type 0 found/, 0],
    ['a message as a number', field(1, 'eight'), /an integer expected/, 0],
    ['a fixed number that is cut off', Uint8Array.of((9 << 3) | 1, 0, 0), /8 bytes announced where 2/, 0],
  ])('are told by what and where: %s', (_, bytes, message, offset) => {
    let caught: unknown
    try {
      readOnnx(bytes)
    } catch (error) {
      caught = error
    }
    expect(caught).toBeInstanceOf(OnnxFormatError)
    expect(caught).toMatchObject({ message: expect.stringMatching(message) as string, offset })
  })

  it('can not make the reader recurse without bound', () => {
    const nested = (levels: number) => {
      let body = graph(empty)
      for (let i = 0; i < levels; i++) {
        body = graph({ ...empty, nodes: [node('Loop', [], [], { attributes: { body: { graph: body } } })] })
      }
      return field(7, body)
    }
    expect(() => readOnnx(nested(30))).not.toThrow()
    expect(() => readOnnx(nested(2000))).toThrow(/nested deeper than 100/)
  })

  it('may hold unknown fields of any kind', () => {
    const fixed = (number: number, wire: number, size: number) =>
      concat([Uint8Array.of((number << 3) | wire), new Uint8Array(size)])
    const unknown = [fixed(9, 1, 8), fixed(10, 5, 4), field(200, 3), field(2 ** 28, 'later')]
    expect(readOnnx(concat([...unknown, model(empty, { producer: 'x' }), ...unknown])).producer).toBe('x')
  })
})

/** `w` is an input that has a default, which the runtime does not count among a session's inputs. */
function withDefault(): Encoded {
  return model({
    nodes: [node('Add', ['x', 'w'], ['y'])],
    inputs: [tensorValue('x', 'float32', ['batch', 2]), tensorValue('w', 'float32', [2])],
    outputs: [tensorValue('y', 'float32', ['batch', 2])],
    initializers: [float32('w', [2], [1, 2])],
  })
}
