import { Agent, request as send, type OutgoingHttpHeaders } from 'node:http'
import { buffer } from 'node:stream/consumers'
import { deflateSync, gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { createServing } from 'mlserving'
import { toRaw } from '../../src/v2/raw-tensor.js'
import { asAny } from '../contract/serving.js'
import { writeInto } from '../models/temporary-repository.js'
import { quietLogger } from '../models/quiet-logger.js'
import { addInt64, fixedBatch, identityModel, scalarInput, twoInputs } from '../onnx/models.js'
import { random } from '../onnx/random.js'

/** A request as it goes over the wire. */
export interface RawRequest {
  readonly path: string
  readonly headers: OutgoingHttpHeaders
  readonly body: Uint8Array
}

/** The models that the requests are for. */
export async function serveTargets(folder: string) {
  for (const [name, bytes] of Object.entries({
    float: identityModel({ shape: ['batch', 'n'] }),
    text: identityModel({ dtype: 'string', shape: ['batch', 'n'] }),
    flag: identityModel({ dtype: 'bool', shape: ['batch', 'n'] }),
    half: identityModel({ dtype: 'float16', shape: ['n'] }),
    add: addInt64(),
    two: twoInputs(),
    fixed: fixedBatch(),
    scalar: scalarInput(),
  })) {
    writeInto(folder, `${name}/1/model.onnx`, bytes)
    writeInto(folder, `${name}/model.json`, { placement: 'inline' })
  }
  const serving = asAny(createServing({ repository: folder, logger: quietLogger() }))
  await serving.ready()
  return serving
}

const lengthHeader = 'inference-header-content-length'

function jsonRequest(model: string, request: unknown): RawRequest {
  const text = typeof request === 'string' ? request : JSON.stringify(request)
  const headers = { 'content-type': 'application/json' }
  return { path: `/v2/models/${model}/infer`, headers, body: Buffer.from(text) }
}

function binaryRequest(model: string, request: unknown, ...raws: Uint8Array[]): RawRequest {
  const head = Buffer.from(JSON.stringify(request))
  const headers = { 'content-type': 'application/octet-stream', [lengthHeader]: String(head.length) }
  return { path: `/v2/models/${model}/infer`, headers, body: Buffer.concat([head, ...raws]) }
}

const floats = new Uint8Array(Float32Array.of(1, -2.5, NaN, 0, Infinity, 3e38).buffer)
const words = toRaw({ dtype: 'string', shape: [1, 3], data: ['a', 'žluťoučký', ''] })
const x = (datatype: string, shape: readonly number[], more: object) => ({
  name: 'x',
  datatype,
  shape,
  ...more,
})
const bytes = (size: number) => ({ parameters: { binary_data_size: size } })

/** Requests as real clients send them. */
export const captured: readonly RawRequest[] = [
  jsonRequest('float', {
    id: '42',
    inputs: [
      x('FP32', [2, 3], {
        data: [
          [1, 2.5, 3],
          [4, -0, 6e-7],
        ],
      }),
    ],
  }),
  jsonRequest('float', {
    parameters: { priority: 1 },
    inputs: [x('FP32', [1, 4], { data: [1, 2, 3, 4] })],
    outputs: [{ name: 'y', parameters: { classification: 2 } }],
  }),
  jsonRequest('text', { inputs: [x('BYTES', [1, 2], { data: ['a "b"', '\u{1f40e}'] })] }),
  jsonRequest('flag', { inputs: [x('BOOL', [1, 3], { data: [true, false, true] })] }),
  jsonRequest('half', { inputs: [x('FP16', [3], { data: [1.5, -2, 65504] })] }),
  jsonRequest(
    'add',
    '{"inputs":[{"name":"x","shape":[1,3],"datatype":"INT64","data":[9007199254740993,-9223372036854775808,7]}]}',
  ),
  jsonRequest('scalar', { inputs: [x('FP32', [], { data: [1] })] }),
  jsonRequest('fixed', {
    inputs: [x('FP32', [1, 4], { data: [1, 2, 3, 4] })],
    parameters: { binary_data_output: true },
  }),
  binaryRequest(
    'float',
    { inputs: [x('FP32', [2, 3], bytes(24))], parameters: { binary_data_output: true } },
    floats,
  ),
  binaryRequest(
    'float',
    { inputs: [x('FP32', [1, 6], bytes(24))], outputs: [{ name: 'y', parameters: { binary_data: false } }] },
    floats,
  ),
  binaryRequest(
    'text',
    {
      inputs: [x('BYTES', [1, 3], bytes(words.length))],
      outputs: [{ name: 'y', parameters: { binary_data: true } }],
    },
    words,
  ),
  binaryRequest('flag', { inputs: [x('BOOL', [1, 4], bytes(4))] }, Uint8Array.of(0, 1, 1, 0)),
  binaryRequest(
    'two',
    {
      inputs: [
        { name: 'b', datatype: 'INT64', shape: [2, 1], data: [1, 2] },
        { name: 'a', datatype: 'FP32', shape: [2, 2], ...bytes(16) },
      ],
      outputs: [{ name: 'next', parameters: { binary_data: true } }, { name: 'sum' }],
    },
    floats.subarray(0, 16),
  ),
]

/** A captured request of which some bytes, a length or a header are others. */
function mutated(seed: number): RawRequest {
  const next = random(seed)
  const pick = (count: number) => Math.floor(((next() + 1) / 2) * count)
  const original = captured[pick(captured.length)] ?? captured[0]
  if (original === undefined) throw new Error('nothing was captured')
  let body = Buffer.from(original.body)
  const headers: Record<string, string> = { ...(original.headers as Record<string, string>) }
  for (let times = pick(4); times > 0; times--) body = mutateBody(body, pick)
  const header = pick(8)
  if (header === 0)
    headers[lengthHeader] = oddLengths[pick(oddLengths.length)] ?? String(pick(body.length + 3))
  if (header === 1) headers['content-type'] = oddTypes[pick(oddTypes.length)] ?? ''
  if (header === 2) headers['content-encoding'] = oddEncodings[pick(oddEncodings.length)] ?? ''
  if (header === 3) headers['accept-encoding'] = 'gzip'
  if (header === 4) [headers['content-encoding'], body] = ['gzip', damaged(gzipSync(body), pick)]
  if (header === 5) [headers['content-encoding'], body] = ['deflate', damaged(deflateSync(body), pick)]
  const { path } = captured[pick(12) === 0 ? pick(captured.length) : captured.indexOf(original)] ?? original
  return { path, headers, body }
}

const oddLengths = ['0', '-1', '1e2', 'NaN', '', '99999999999999999999', '1', ' 7 ', '0x10']
const oddTypes = [
  '',
  'application/json; charset=utf-16',
  'text/plain',
  'application/octet-stream',
  'x',
  '*/*',
]
const oddEncodings = ['gzip', 'deflate', 'br', 'identity', 'zstd', 'gzip, gzip']
const tokens = [
  '"',
  '{',
  '}',
  '[',
  ']',
  ',',
  ':',
  '-',
  '1e999',
  '9223372036854775808',
  'null',
  'NaN',
  '"x"',
  '-1',
  '\\u0000',
  '__proto__',
  '1e-400',
  '4294967296',
  '0.5',
  '[[]]',
  'true',
  '"FP64"',
  '"BYTES"',
]

function mutateBody(body: Buffer, pick: (count: number) => number): Buffer<ArrayBuffer> {
  const at = pick(body.length + 1)
  const to = Math.min(body.length, at + pick(12))
  const token = Buffer.from(tokens[pick(tokens.length)] ?? '')
  switch (pick(9)) {
    case 0: {
      const flipped = Buffer.from(body)
      if (at < flipped.length) flipped[at] = (flipped[at] ?? 0) ^ (1 << pick(8))
      return flipped
    }
    case 1:
      return Buffer.concat([body.subarray(0, at), body.subarray(to)])
    case 2:
      return Buffer.concat([body.subarray(0, to), body.subarray(at)])
    case 3:
      return Buffer.concat([body.subarray(0, at), token, body.subarray(at)])
    case 4:
      return Buffer.concat([body.subarray(0, at), token, body.subarray(to)])
    case 5:
      return Buffer.from(body.subarray(0, at))
    default: {
      const digits = Buffer.from(body)
      const digit = digits.findIndex((code, i) => i >= at && code >= 0x30 && code <= 0x39)
      if (digit !== -1) digits[digit] = 0x30 + pick(10)
      return digits
    }
  }
}

/** As it is, mostly. */
function damaged(packed: Buffer, pick: (count: number) => number): Buffer<ArrayBuffer> {
  return pick(3) === 0 ? mutateBody(packed, pick) : Buffer.from(packed)
}

const junk = fc.oneof(
  fc.constantFrom<unknown>(
    null,
    true,
    -1,
    0.5,
    2 ** 53,
    1e300,
    '',
    'x',
    'y',
    '__proto__',
    [],
    {},
    [[]],
    [null],
  ),
  fc.json({ maxDepth: 2 }).map((text) => JSON.parse(text) as unknown),
)
/** A value that is right mostly. */
const mostly = <T>(right: fc.Arbitrary<T>) => mostlyOr<unknown>(right, junk)
const mostlyOr = <T>(right: fc.Arbitrary<T>, wrong: fc.Arbitrary<T>) =>
  fc.oneof({ weight: 29, arbitrary: right }, { weight: 1, arbitrary: wrong })

/** By model: its input's datatype, and elements that are right. */
const targets = {
  float: ['FP32', fc.oneof(fc.float({ noNaN: true, noDefaultInfinity: true }), fc.integer())],
  text: ['BYTES', fc.string({ maxLength: 4, unit: 'grapheme' })],
  flag: ['BOOL', fc.boolean()],
  half: ['FP16', fc.integer({ min: -2048, max: 2048 })],
  add: ['INT64', fc.maxSafeInteger()],
} as const
type Target = keyof typeof targets

const oddDimension = fc.constantFrom(-1, 0.5, 2 ** 31, 2 ** 32, 2 ** 53 - 1, 2 ** 60)
const oddElement = fc.oneof(
  fc.double(),
  fc.boolean(),
  fc.string({ maxLength: 4, unit: 'binary' }),
  fc.constant(null),
)

const parameters = fc.dictionary(
  fc.constantFrom(
    'binary_data_size',
    'binary_data',
    'binary_data_output',
    'classification',
    'priority',
    'sequence_id',
    'shared_memory_region',
    'own',
  ),
  fc.oneof(fc.integer({ min: -1, max: 40 }), fc.boolean(), junk),
  { maxKeys: 2 },
)
/** An input that is right mostly, flat or nested. */
function inputOf(target: Target) {
  const [datatype, element] = targets[target]
  const isFixed = target === 'add'
  return fc
    .tuple(
      fc.integer({ min: 0, max: 3 }),
      isFixed ? fc.constant(3) : fc.integer({ min: 0, max: 4 }),
      fc.boolean(),
    )
    .chain(([rows, columns, isNested]) => {
      const row = fc.array<unknown>(mostlyOr(element, oddElement), { minLength: columns, maxLength: columns })
      const nested = fc.array(row, { minLength: rows, maxLength: rows })
      const shape = target === 'half' ? [rows * columns] : [rows, columns]
      const data = isNested && target !== 'half' ? nested : nested.map((lists) => lists.flat())
      return fc.record(
        {
          name: mostly(fc.constant('x')),
          shape: mostly(fc.tuple(...shape.map((length) => mostlyOr(fc.constant(length), oddDimension)))),
          datatype: mostly(fc.constant(datatype)),
          data: mostly(data),
          parameters: fc.oneof(
            { weight: 9, arbitrary: fc.constant({}) },
            { weight: 1, arbitrary: parameters },
          ),
        },
        { requiredKeys: ['name', 'shape', 'datatype', 'data'] },
      )
    })
}

const output = fc.record(
  { name: mostly(fc.constant('y')), parameters: mostly(parameters) },
  { requiredKeys: ['name'] },
)

function messageOf(target: Target) {
  const input = mostly<unknown>(inputOf(target))
  return mostly<unknown>(
    fc.record(
      {
        id: mostly(fc.string()),
        inputs: mostly(
          fc.oneof({ weight: 9, arbitrary: fc.tuple(input) }, { weight: 1, arbitrary: fc.array(input) }),
        ),
        outputs: mostly(fc.tuple(output)),
        parameters: mostly(parameters),
      },
      { requiredKeys: ['inputs'] },
    ),
  )
}

/** A request that is made up, and right mostly. */
const madeUp: fc.Arbitrary<RawRequest> = fc
  .constantFrom(...(Object.keys(targets) as Target[]))
  .chain((target) =>
    fc
      .tuple(
        messageOf(target),
        fc.oneof(
          { weight: 4, arbitrary: fc.constant(null) },
          { weight: 1, arbitrary: fc.uint8Array({ maxLength: 40 }) },
        ),
      )
      .map(([body, raw]) =>
        raw === null ? jsonRequest(target, body ?? 'null') : binaryRequest(target, body ?? null, raw),
      ),
  )

/** What became of requests. */
export interface Verdict {
  readonly statuses: Record<number, number>
  /** Answers that no request deserves. */
  readonly wrong: string[]
}

/** Asks requests over connections that are kept, some beside each other. */
export async function askAll(
  origin: string,
  requests: Iterable<RawRequest>,
  verdict: Verdict,
): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: 16 })
  const left = requests[Symbol.iterator]()
  const line = async () => {
    for (let next = left.next(); next.done !== true; next = left.next())
      await ask(agent, origin, next.value, verdict)
  }
  await Promise.all(Array.from({ length: 16 }, line))
  agent.destroy()
}

async function ask(agent: Agent, origin: string, request: RawRequest, verdict: Verdict): Promise<void> {
  const { path, headers, body } = request
  const answer = await new Promise<{ status: number; headers: NodeJS.Dict<string | string[]>; body: Buffer }>(
    (resolve, reject) => {
      const sent = send(
        `${origin}${path}`,
        { agent, method: 'POST', headers: { ...headers, 'content-length': body.length } },
        (response) => {
          buffer(response).then(
            (received) =>
              resolve({ status: response.statusCode ?? 0, headers: response.headers, body: received }),
            reject,
          )
        },
      )
      sent.on('error', reject)
      sent.setTimeout(10_000, () => sent.destroy(new Error('no answer')))
      sent.end(body)
    },
  ).catch((error: unknown) => error as Error)
  const tell = (what: string) => {
    if (verdict.wrong.length < 20)
      verdict.wrong.push(
        `${what}: ${path} ${JSON.stringify(headers)} ${JSON.stringify(Buffer.from(body).toString('latin1'))}`,
      )
  }
  if (answer instanceof Error) return tell(answer.message)
  verdict.statuses[answer.status] = (verdict.statuses[answer.status] ?? 0) + 1
  if (answer.status >= 500) return tell(`${answer.status} ${answer.body.toString()}`)
  if (answer.status >= 400) {
    const { error } = JSON.parse(answer.body.toString()) as { error?: unknown }
    if (typeof error !== 'string' || error === '') tell(`an error without words: ${answer.body.toString()}`)
    return
  }
  if (answer.headers['content-encoding'] !== undefined || headers['content-encoding'] !== undefined) return
  const objection = objectionTo(request, answer)
  if (objection !== undefined) tell(objection)
}

interface Tensors {
  readonly inputs?: readonly TensorJson[]
  readonly outputs?: readonly TensorJson[]
}
interface TensorJson {
  readonly datatype: string
  readonly shape: readonly number[]
  readonly data?: readonly unknown[]
}

/** Why the answer of a model whose output is its input can't be right; undefined where it may be. */
function objectionTo(
  { path, headers, body }: RawRequest,
  answer: { readonly headers: NodeJS.Dict<string | string[]>; readonly body: Buffer },
): string | undefined {
  if (!/\/(float|text|flag)\//.test(path)) return undefined
  const [asked, raw] = apart(headers[lengthHeader], Buffer.from(body))
  const [given, rawGiven] = apart(answer.headers[lengthHeader], answer.body)
  const [[from], [to]] = [asked.inputs ?? [], given.outputs ?? []]
  if (from === undefined || to === undefined) return undefined
  if (to.datatype !== from.datatype) return to.datatype === 'BYTES' ? undefined : 'the datatype is another'
  if (String(to.shape) !== String(from.shape)) return 'the shape is another'
  if (raw.length > 0 && rawGiven.length > 0) return raw.equals(rawGiven) ? undefined : 'the bytes are others'
  if (from.data === undefined || to.data === undefined) return undefined
  const right = from.data.flat(Infinity).map((each) => (typeof each === 'number' ? Math.fround(each) : each))
  return JSON.stringify(right) === JSON.stringify(to.data) ? undefined : 'the elements are others'
}

function apart(length: unknown, body: Buffer): [Tensors, Buffer] {
  const end = length === undefined ? body.length : Number(length)
  return [JSON.parse(body.subarray(0, end).toString()) as Tensors, body.subarray(end)]
}

/** So many requests of both kinds, in turn. */
export function* hostileRequests(count: number, seed: number): Generator<RawRequest> {
  const atOnce = 500
  for (let done = 0; done < count; done += atOnce * 2) {
    const made = fc.sample(madeUp, { numRuns: atOnce, seed: seed + done })
    for (const [i, request] of made.entries()) {
      yield request
      yield mutated(seed + done + i)
    }
  }
}
