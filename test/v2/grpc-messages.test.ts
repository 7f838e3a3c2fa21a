import fc from 'fast-check'
import { expect, test } from 'vitest'
import * as messages from '../../src/v2/grpc-messages.js'
import type { Parameter } from '../../src/v2/grpc-parameter.js'
import { MalformedMessage } from '../../src/v2/protobuf/malformed-message.js'
import { encode, type MessageType } from '../../src/v2/protobuf/message.js'
import { otherType } from './other-protobuf.js'

const text = fc.string({ unit: 'grapheme', maxLength: 8 })
const int64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })
const uint64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })
const bytes = fc.uint8Array({ maxLength: 9 }).map((each) => Buffer.from(each))
const described = fc.record({ name: text, datatype: text, shape: fc.bigInt64Array({ maxLength: 4 }) })
const few = { maxLength: 4 }

const contents = fc.record(
  {
    bool_contents: fc.uint8Array({ max: 1, ...few }),
    int_contents: fc.int32Array(few),
    int64_contents: fc.bigInt64Array(few),
    uint_contents: fc.uint32Array(few),
    uint64_contents: fc.bigUint64Array(few),
    fp32_contents: fc.float32Array(few),
    fp64_contents: fc.float64Array(few),
    bytes_contents: fc.array(text, few),
  },
  { requiredKeys: [] },
)
const parameter: fc.Arbitrary<Parameter> = fc.oneof(
  fc.boolean(),
  int64,
  uint64,
  text,
  fc.double({ noInteger: true }),
)
const parameters = fc.array(fc.tuple(text, parameter), few).map((entries) => new Map(entries))
const tensor = fc.record(
  { name: text, datatype: text, shape: fc.bigInt64Array(few), parameters, contents },
  { requiredKeys: [] },
)
const request = fc.record(
  {
    model_name: text,
    model_version: text,
    id: text,
    parameters,
    inputs: fc.array(tensor, few),
    outputs: fc.array(fc.record({ name: text, parameters }, { requiredKeys: [] }), few),
    raw_input_contents: fc.array(bytes, few),
  },
  { requiredKeys: [] },
)
const duration = fc.record({ count: uint64, ns: uint64 }, { requiredKeys: [] })
const statistics = fc.record(
  {
    name: text,
    version: text,
    last_inference: uint64,
    inference_count: uint64,
    execution_count: uint64,
    inference_stats: fc.record(
      Object.fromEntries(
        [
          'success',
          'fail',
          'queue',
          'compute_input',
          'compute_infer',
          'compute_output',
          'cache_hit',
          'cache_miss',
        ].map((name) => [name, duration]),
      ),
      { requiredKeys: [] },
    ),
    batch_stats: fc.array(
      fc.record(
        { batch_size: uint64, compute_input: duration, compute_infer: duration, compute_output: duration },
        { requiredKeys: [] },
      ),
      few,
    ),
  },
  { requiredKeys: [] },
)
const uint32 = fc.nat(2 ** 31 - 1)
const dataType = fc.nat(13)
const config = fc.record(
  {
    name: text,
    platform: text,
    max_batch_size: uint32,
    input: fc.array(fc.record({ name: text, data_type: dataType, dims: fc.bigInt64Array(few) }), few),
    output: fc.array(fc.record({ name: text, data_type: dataType, dims: fc.bigInt64Array(few) }), few),
    instance_group: fc.array(fc.record({ name: text, count: uint32, kind: fc.nat(3) }), few),
    dynamic_batching: fc.record({ max_queue_delay_microseconds: uint64 }),
    backend: text,
  },
  { requiredKeys: [] },
)
const repositoryParameters = fc
  .array(fc.tuple(text, fc.oneof(fc.boolean(), int64, text, bytes)), few)
  .map((entries) => new Map(entries))

const cases: [name: string, type: MessageType<unknown, object>, values: fc.Arbitrary<object>][] = [
  ['ModelInferRequest', messages.modelInferRequest, request],
  [
    'ModelInferResponse',
    messages.modelInferResponse,
    request.map(({ inputs, raw_input_contents, outputs: _, ...rest }) => ({
      ...rest,
      ...(inputs && { outputs: inputs }),
      ...(raw_input_contents && { raw_output_contents: raw_input_contents }),
    })),
  ],
  [
    'ModelStreamInferResponse',
    messages.modelStreamInferResponse,
    fc.record(
      { error_message: text, infer_response: fc.record({ id: text, parameters }, { requiredKeys: [] }) },
      { requiredKeys: [] },
    ),
  ],
  ['InferTensorContents', messages.tensorContents, contents],
  [
    'ModelStatisticsResponse',
    messages.modelStatisticsResponse,
    fc.record({ model_stats: fc.array(statistics, few) }),
  ],
  ['ModelConfigResponse', messages.modelConfigResponse, fc.record({ config })],
  [
    'Metadata',
    messages.modelMetadata,
    fc.record({
      name: text,
      versions: fc.array(text, few),
      platform: text,
      inputs: fc.array(described, few),
    }),
  ],
  [
    'Server',
    messages.serverMetadata,
    fc.record({ name: text, version: text, extensions: fc.array(text, few) }),
  ],
  [
    'IndexRequest',
    messages.repositoryIndexRequest,
    fc.record({ repository_name: text, ready: fc.boolean() }),
  ],
  [
    'Index',
    messages.repositoryIndexResponse,
    fc.record({ models: fc.array(fc.record({ name: text, version: text, state: text, reason: text }), few) }),
  ],
  [
    'RepositoryModelRequest',
    messages.repositoryModelRequest,
    fc.record({ repository_name: text, model_name: text, parameters: repositoryParameters }),
  ],
  ['Model', messages.modelName, fc.record({ name: text, version: text })],
  ['Live', messages.serverLive, fc.record({ live: fc.boolean() })],
  ['Ready', messages.serverReady, fc.record({ ready: fc.boolean() })],
]

test.each(cases)(
  '%s is written so that another implementation reads the same as ours',
  (name, type, values) => {
    const other = otherType(name)
    fc.assert(
      fc.property(values, (value) => {
        const written = encode(type, value)
        const read = other.decode(written)
        const back = other.encode(read)
        expect(type.read(back)).toEqual(type.read(written))
        expect(type.read(written)).toMatchObject(value)
      }),
      { numRuns: 200 },
    )
  },
)

test('lists that are not packed, or packed in parts, are read like packed ones', () => {
  fc.assert(
    fc.property(contents, contents, (first, second) => {
      const unpacked = otherType('UnpackedContents')
      const packed = otherType('InferTensorContents')
      const one = encode(messages.tensorContents, first)
      const other = encode(messages.tensorContents, second)
      const parts = [one, unpacked.encode(packed.decode(other)), other]
      const expected = packed.encode(packed.decode(Buffer.concat(parts)))
      expect(messages.tensorContents.read(Buffer.concat(parts))).toEqual(
        messages.tensorContents.read(expected),
      )
    }),
  )
})

test('a message that comes in parts is one, and of a parameter the last value counts', () => {
  const other = otherType('InferTensor')
  const parts = [
    other.encode({ name: 'a', contents: { int_contents: [1] }, parameters: { p: { bool_param: true } } }),
    other.encode({ name: 'b', contents: { int_contents: [2] }, parameters: { p: { int64_param: '-5' } } }),
  ]
  const { name, contents: read, parameters: all } = messages.inferTensor.read(Buffer.concat(parts))
  expect(name).toBe('b')
  expect(read?.int_contents).toEqual(Int32Array.of(1, 2))
  expect(all).toEqual(new Map([['p', -5n]]))
})

test('an entry of a map that has no value has an empty one, and one without a key an empty key', () => {
  const entries = [
    [0x22, 3, 0x0a, 1, 0x70],
    [0x22, 4, 0x12, 2, 0x08, 1],
  ]
  const { parameters: read } = messages.inferTensor.read(Uint8Array.from(entries.flat()))
  expect(read).toEqual(
    new Map([
      ['p', undefined],
      ['', true],
    ]),
  )
})

test('fields that nobody knows are passed over', () => {
  const later = Buffer.from([
    0x98,
    0x06,
    0x01,
    0xa1,
    0x06,
    ...Array<number>(8),
    0xaa,
    0x06,
    0x01,
    0xff,
    0xb5,
    0x06,
    1,
    2,
    3,
    4,
  ])
  const read = messages.modelName.read(
    Buffer.concat([later, encode(messages.modelName, { name: 'm' }), later]),
  )
  expect(read).toEqual({ name: 'm', version: '' })
})

test.each([
  ['a length beyond the end', [0x0a, 0x05, 0x61]],
  ['a length of more than 32 bits', [0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]],
  ['an integer that is cut off', [0x10, 0x80]],
  ['an integer of eleven bytes', [0x18, ...Array<number>(10).fill(0x80), 0x01]],
  ['text that is no UTF-8', [0x0a, 0x01, 0xff]],
  ['another wire type', [0x08, 0x01]],
  ['a group', [0x63, 0x64]],
  ['a field number of 0', [0x02, 0x00]],
  ['a nested message that is cut off', [0x2a, 0x02, 0x0a, 0x05]],
  ['packed integers that are cut off', [0x2a, 0x03, 0x1a, 0x01, 0x80]],
])('%s is refused', (_what, given) => {
  expect(() => messages.modelInferRequest.read(Uint8Array.from(given))).toThrow(MalformedMessage)
})

test('what is wrong is said with the names of the fields that it is in', () => {
  const message = Uint8Array.of(0x2a, 5, 0x2a, 3, 0x42, 1, 0xff)
  expect(() => messages.modelInferRequest.read(message)).toThrow(
    'inputs.contents.bytes_contents: field 8 is no UTF-8',
  )
})

test('a message of many entries that are nearly nothing is refused', () => {
  const raw = Buffer.alloc(2 * 20_000)
  for (const [field, number] of Object.entries({
    inputs: 5,
    outputs: 6,
    raw_input_contents: 7,
    parameters: 4,
  })) {
    raw.forEach((_, i) => (raw[i] = i % 2 === 0 ? (number << 3) | 2 : 0))
    expect(() => messages.modelInferRequest.read(raw), field).toThrow('10000')
  }
})
