import { status, type ServiceError } from '@grpc/grpc-js'
import fc from 'fast-check'
import { toRaw } from '../../../src/v2/raw-tensor.js'
import { random } from '../../onnx/random.js'
import { otherType } from '../../v2/other-protobuf.js'
import { float32Bytes, input, type Plain, type TestClient } from './client.js'

/** A message as its bytes, for a method that it may not be one of. */
export interface RawCall {
  readonly method: string
  readonly message: Buffer
}

const type = otherType('ModelInferRequest')
const int64s = (...values: bigint[]) => Buffer.from(BigInt64Array.from(values).buffer)
const words = toRaw({ dtype: 'string', shape: [1, 3], data: ['a', 'žluťoučký', ''] })
const x = (datatype: string, shape: readonly number[], contents?: object) => ({
  ...input('x', datatype, shape),
  ...(contents && { contents }),
})

/** Requests as real clients send them, to the models of `serveTargets`. */
export const captured: readonly RawCall[] = [
  {
    model_name: 'float',
    id: '42',
    inputs: [x('FP32', [2, 3])],
    raw_input_contents: [float32Bytes(1, -0, NaN, 4, 5, 6)],
  },
  {
    model_name: 'float',
    parameters: {
      priority: { uint64_param: 1 },
      timeout: { int64_param: 9_000_000 },
      other: { double_param: 0.5 },
    },
    inputs: [x('FP32', [1, 4], { fp32_contents: [1, 2, 3, 4] })],
    outputs: [{ name: 'y', parameters: { classification: { int64_param: 2 } } }],
  },
  { model_name: 'text', inputs: [x('BYTES', [1, 3])], raw_input_contents: [words] },
  {
    model_name: 'text',
    inputs: [x('BYTES', [1, 2], { bytes_contents: [Buffer.from('a'), Buffer.from('€')] })],
    parameters: { binary_data_output: { bool_param: false } },
  },
  { model_name: 'flag', inputs: [x('BOOL', [1, 3])], raw_input_contents: [Buffer.of(0, 1, 1)] },
  { model_name: 'flag', inputs: [x('BOOL', [1, 3], { bool_contents: [true, false, true] })] },
  { model_name: 'half', inputs: [x('FP16', [2])], raw_input_contents: [Buffer.of(0, 60, 1, 126)] },
  { model_name: 'add', inputs: [x('INT64', [1, 3])], raw_input_contents: [int64s(2n ** 53n + 1n, -1n, 7n)] },
  { model_name: 'add', inputs: [x('INT64', [1, 3], { int64_contents: ['9007199254740993', '-1', '7'] })] },
  { model_name: 'scalar', inputs: [x('FP32', [])], raw_input_contents: [float32Bytes(1)] },
  {
    model_name: 'two',
    inputs: [input('b', 'INT64', [2, 1]), input('a', 'FP32', [2, 2])],
    outputs: [{ name: 'next' }, { name: 'sum' }],
    raw_input_contents: [int64s(1n, 2n), float32Bytes(1, 2, 3, 4)],
  },
].map((request) => ({ method: 'ModelInfer', message: type.encode(request) }))

const otherMethods = ['ModelReady', 'ModelMetadata', 'ModelConfig', 'ModelStatistics', 'ServerReady', 'Check']

/** A captured message of which some bytes are others. */
function mutated(seed: number): RawCall {
  const next = random(seed)
  const pick = (count: number) => Math.floor(((next() + 1) / 2) * count)
  const of = (calls: readonly RawCall[]) => calls[pick(calls.length)]?.message ?? Buffer.of()
  let message: Buffer = of(captured)
  for (let times = pick(5); times > 0; times--) message = mutate(message, of(captured), pick)
  const method = pick(10) === 0 ? (otherMethods[pick(otherMethods.length)] ?? '') : 'ModelInfer'
  return { method, message }
}

function mutate(message: Buffer, other: Buffer, pick: (count: number) => number): Buffer {
  const at = pick(message.length)
  const [head, tail] = [message.subarray(0, at), message.subarray(at)]
  const kinds = [
    () => Buffer.concat([head, Buffer.of(pick(256)), tail.subarray(1)]),
    () => Buffer.concat([head, Buffer.of((tail[0] ?? 0) ^ (1 << pick(8))), tail.subarray(1)]),
    () => Buffer.concat([head, Buffer.from(Array.from({ length: 1 + pick(9) }, () => pick(256))), tail]),
    () => Buffer.concat([head, tail.subarray(1 + pick(8))]),
    () => head,
    () => Buffer.concat([head, head.subarray(pick(head.length + 1)), tail]),
    () => Buffer.concat([head, other.subarray(pick(other.length))]),
    () => Buffer.concat([message, other]),
    () => Buffer.concat([head, Buffer.from('ffffffffffffffffff01', 'hex'), tail]),
  ]
  return kinds[pick(kinds.length)]?.() ?? message
}

const datatype = fc.constantFrom(
  'FP32',
  'FP64',
  'FP16',
  'INT64',
  'INT32',
  'UINT8',
  'BOOL',
  'BYTES',
  'BF16',
  '',
  'fp32',
)
const dimension = fc.oneof(fc.nat(4), fc.constantFrom(-1, 2 ** 31, Number.MAX_SAFE_INTEGER))
const bytes = fc.uint8Array({ maxLength: 40 }).map((each) => Buffer.from(each))
const few = { maxLength: 6 }
const contents = fc.record(
  {
    bool_contents: fc.array(fc.boolean(), few),
    int_contents: fc.array(fc.integer(), few),
    int64_contents: fc.array(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(String), few),
    uint_contents: fc.array(fc.nat(), few),
    fp32_contents: fc.array(fc.float(), few),
    bytes_contents: fc.array(bytes, few),
  },
  { requiredKeys: [] },
)
const parameterName = fc.constantFrom(
  'priority',
  'timeout',
  'sequence_id',
  'binary_data_output',
  'classification',
  '__proto__',
  'shared_memory_region',
  'binary_data_size',
)
const parameters = fc.dictionary(
  parameterName,
  fc.oneof(
    fc.record({ int64_param: fc.integer() }),
    fc.record({ bool_param: fc.boolean() }),
    fc.record({ string_param: fc.string() }),
    fc.record({ double_param: fc.double() }),
    fc.constant({}),
  ),
  { maxKeys: 2 },
)
const madeUp = fc.record(
  {
    model_name: fc.constantFrom('float', 'text', 'flag', 'half', 'add', 'scalar', 'two', 'nobody', ''),
    model_version: fc.constantFrom('', '1', 'latest', '9', '__proto__'),
    id: fc.string(),
    parameters,
    inputs: fc.array(
      fc.record(
        {
          name: fc.constantFrom('x', 'a', 'b', '', '__proto__'),
          datatype,
          shape: fc.array(dimension, few),
          contents,
          parameters,
        },
        { requiredKeys: ['name'] },
      ),
      { maxLength: 3 },
    ),
    outputs: fc.array(fc.record({ name: fc.constantFrom('y', 'sum', 'next', ''), parameters }), {
      maxLength: 2,
    }),
    raw_input_contents: fc.array(bytes, { maxLength: 3 }),
  },
  { requiredKeys: ['model_name', 'inputs'] },
)

/** Damaged and made up calls, the same for the same seed. */
export function* hostileCalls(count: number, seed: number): Generator<RawCall> {
  const invented = fc.sample(madeUp, { numRuns: Math.min(count, 2000), seed })
  for (let i = 0; i < count; i++) {
    const request = i % 4 === 0 ? invented[(i / 4) % invented.length] : undefined
    yield request === undefined ? mutated(seed + i) : { method: 'ModelInfer', message: type.encode(request) }
  }
}

/** What became of calls. */
export interface Verdict {
  readonly statuses: Record<string, number>
  /** What must not be, of the first few calls. */
  readonly wrong: string[]
}

const fair = new Set([status.INVALID_ARGUMENT, status.NOT_FOUND, status.DEADLINE_EXCEEDED])
/** A model of a tensor of no more bytes than this answers it with an output of its bytes. */
const identities = ['float', 'text', 'flag', 'half']

/** Asks all, some at once. */
export async function askAll(client: TestClient, calls: Iterable<RawCall>, verdict: Verdict): Promise<void> {
  const left = calls[Symbol.iterator]()
  const line = async () => {
    for (let next = left.next(); next.done !== true; next = left.next())
      await ask(client, next.value, verdict)
  }
  await Promise.all(Array.from({ length: 32 }, line))
}

async function ask(
  client: TestClient,
  { method, message }: RawCall,
  { statuses, wrong }: Verdict,
): Promise<void> {
  const tell = (what: string) => {
    if (wrong.length < 20) wrong.push(`${what}: ${method} ${message.toString('hex')}`)
  }
  try {
    const answer = await client.raw(method, message)
    statuses.OK = (statuses.OK ?? 0) + 1
    const objection = method === 'ModelInfer' ? objectionTo(message, answer) : undefined
    if (objection !== undefined) tell(objection)
  } catch (error) {
    const { code, details } = error as ServiceError
    const name = status[code]
    statuses[name] = (statuses[name] ?? 0) + 1
    if (!fair.has(code)) tell(`${name} ${details}`)
    else if (details === '') tell(`${name} without words`)
  }
}

/** What is wrong with an answer, by what another implementation reads in the message. */
function objectionTo(message: Buffer, answer: Plain): string | undefined {
  let request: Plain
  try {
    request = type.decode(message)
  } catch (error) {
    // It has null for the value of a map's entry that has none, and fails at that itself; protobuf has an empty one.
    if (error instanceof TypeError) return undefined
    return `answered what the other implementation can't read (${String(error)})`
  }
  const { raw_input_contents: raws, outputs: asked } = request as Record<string, Plain[]>
  if (answer.id !== request.id) return 'another id'
  if (answer.model_name !== request.model_name) return 'another model'
  if (!identities.includes(request.model_name as string) || raws?.length !== 1 || asked?.length !== 0)
    return undefined
  const [output] = answer.raw_output_contents as Buffer[]
  if (output === undefined) return undefined // it asked for typed contents
  return output.equals(raws[0] as unknown as Buffer) ? undefined : 'other bytes'
}
