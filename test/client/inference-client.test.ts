import { InferenceClient, InferenceError, float32, int64, strings } from 'mlserving/client'
import { describe, expect, it } from 'vitest'
import { binaryServer, breakOff, hangUp, json, scripted, silence, type Act } from './scripted-server.js'

const inputs = { x: float32([1, 2], [1, 2]) }
const answer = { model_name: 'm', model_version: '3', outputs: [] }
const infer = '/v2/models/m/infer'

/** Tensors as bytes behind a JSON. */
const binary =
  (message: object, ...parts: Uint8Array[]): Act =>
  (response) => {
    const text = JSON.stringify(message)
    const length = String(Buffer.byteLength(text))
    response.writeHead(200, { 'inference-header-content-length': length })
    response.end(Buffer.concat([Buffer.from(text), ...parts]))
  }

describe('a request', () => {
  it('has its tensors as bytes behind its JSON where the server takes that, which is asked once', async () => {
    const server = await scripted({ '/v2': binaryServer, [infer]: json(answer) })
    const client = new InferenceClient({ url: server.url })
    const request = { inputs: { ...inputs, t: strings(['é', '']) }, id: 'a', parameters: { priority: 1 } }
    await client.infer('m', request)
    await client.infer('m', request)
    expect(server.seen.map(({ url }) => url)).toEqual(['/v2', infer, infer])
    const { headers, body } = server.seen[1] ?? expect.fail()
    const length = Number(headers['inference-header-content-length'])
    expect(headers['content-type']).toBe('application/octet-stream')
    expect(JSON.parse(body.subarray(0, length).toString())).toEqual({
      id: 'a',
      parameters: { binary_data_output: true, priority: 1 },
      inputs: [
        { name: 'x', shape: [1, 2], datatype: 'FP32', parameters: { binary_data_size: 8 } },
        { name: 't', shape: [2], datatype: 'BYTES', parameters: { binary_data_size: 10 } },
      ],
    })
    expect(body.subarray(length).toString('hex')).toBe('0000803f00000040' + '02000000c3a9' + '00000000')
  })

  it('is JSON where the server does not say so, has no metadata, or the option says so', async () => {
    const metadata = [json({ name: 'a', version: '1' }), json({ error: 'forbidden' }, 403), json('no JSON')]
    for (const act of metadata) {
      const server = await scripted({ '/v2': act, [infer]: json(answer) })
      await new InferenceClient({ url: server.url }).infer('m', { inputs })
      expect(server.seen[1]?.headers['content-type']).toBe('application/json')
    }
    const outputs = ['p', 'q'].map((name) => ({ name, datatype: 'BYTES', shape: [0], data: [] }))
    const server = await scripted({ [infer]: json({ ...answer, outputs }) })
    const client = new InferenceClient({ url: `${server.url}/`, binary: false, headers: { 'X-Key': 'k' } })
    await client.infer('m', {
      inputs: {
        a: int64([2n ** 63n - 1n, -5n]),
        b: { dtype: 'bool', shape: [2], data: Uint8Array.of(0, 1) },
        c: { dtype: 'float16', shape: [1], data: Uint16Array.of(0x3c01), parameters: { unit: 'm' } },
        d: { dtype: 'float64', shape: [2], data: Float64Array.of(-0, 1e-300) },
      },
      outputs: ['p', { name: 'q', parameters: { classification: 2 } }],
    })
    expect(server.seen[0]?.body.toString()).toBe(
      '{"inputs":[{"name":"a","shape":[2],"datatype":"INT64","data":[9223372036854775807,-5]},' +
        '{"name":"b","shape":[2],"datatype":"BOOL","data":[false,true]},' +
        '{"name":"c","shape":[1],"datatype":"FP16","parameters":{"unit":"m"},"data":[1.0009765625]},' +
        '{"name":"d","shape":[2],"datatype":"FP64","data":[-0.0,1e-300]}],' +
        '"outputs":[{"name":"p"},{"name":"q","parameters":{"classification":2}}]}',
    )
    expect(server.seen[0]?.headers).toMatchObject({ 'x-key': 'k', 'accept-encoding': 'identity' })
  })

  it.each([
    ['no tensor', { x: [1, 2] }, 'input "x" is no tensor'],
    ['too few elements', { x: { dtype: 'float32', shape: [3], data: Float32Array.of(1) } }, 'holds 3 values'],
    ['no dtype', { x: { dtype: 'constructor', shape: [1], data: [1] } }, 'the dtype must be one of bool,'],
    ['a parameter of no text', { x: { ...inputs.x, parameters: { a: 1n } } }, 'of input "x" must be a text'],
    ['no inputs', undefined, 'inputs are missing'],
    ['another array', { x: { dtype: 'float32', shape: [1], data: [1] } }, 'must be a Float32Array'],
    ['NaN in JSON', { x: float32([NaN]) }, 'JSON has no NaN'],
    ['half a pair', { x: strings(['\ud800']) }, 'half a surrogate pair'],
  ])('with %s is refused before it is sent', async (_, wrong, message) => {
    const server = await scripted({})
    const client = new InferenceClient({ url: server.url, binary: false })
    const call = client.infer('m', { inputs: wrong as never })
    await expect(call).rejects.toMatchObject({ code: 'INVALID_REQUEST', model: 'm' })
    await expect(call).rejects.toThrow(message)
    expect(server.seen).toEqual([])
  })

  it('names versions and models in its path as they are', async () => {
    const server = await scripted({ '/v2/models/a%2Fb/versions/1%20x/infer': json(answer) })
    const client = new InferenceClient({ url: server.url, binary: false })
    await client.infer('a/b', { inputs, version: '1 x' })
    expect(server.seen).toHaveLength(1)
  })

  it('is not made for names that would lead to another path', async () => {
    const server = await scripted({})
    const client = new InferenceClient({ url: server.url, binary: false })
    for (const name of ['', '.', '..', '\ud800']) {
      await expect(client.infer(name, { inputs })).rejects.toThrow('the model must be a name')
      await expect(client.modelReady(name)).rejects.toMatchObject({ code: 'INVALID_REQUEST' })
      await expect(client.infer('m', { inputs, version: name })).rejects.toThrow('the version must be a name')
    }
    expect(server.seen).toEqual([])
  })

  it('has parameters that JSON can carry', async () => {
    const client = new InferenceClient({ url: 'http://127.0.0.1:1', binary: false })
    const message = 'the parameter "a" of the request must be a text, a boolean or a finite number; got NaN'
    await expect(client.infer('m', { inputs, parameters: { a: NaN } })).rejects.toThrow(message)
    const outputs = [{ name: 'y', parameters: { b: null as never } }]
    await expect(client.infer('m', { inputs, outputs })).rejects.toThrow('"b" of output "y" must be')
  })
})

describe('an answer', () => {
  it('may have some outputs in its JSON and some as bytes', async () => {
    const act = binary(
      {
        ...answer,
        id: 'a',
        parameters: { sequence: 1 },
        outputs: [
          { name: 'h', datatype: 'FP16', shape: [1], parameters: { binary_data_size: 2 } },
          { name: 'j', datatype: 'INT32', shape: [2, 2], data: [[1, 2], [3, 4]] }, // prettier-ignore
          {
            name: 't',
            datatype: 'BYTES',
            shape: [2],
            parameters: { binary_data_size: 9, content_type: 'str' },
          },
          { name: 'd', datatype: 'FP64', shape: [1], parameters: { binary_data_size: 8 } },
        ],
      },
      Buffer.from('013c', 'hex'),
      Buffer.from('01000000610000000000', 'hex').subarray(0, 9),
      Buffer.from(new Uint8Array(Float64Array.of(NaN).buffer)),
    )
    const server = await scripted({ [infer]: act })
    const result = await new InferenceClient({ url: server.url, binary: true }).infer('m', { inputs })
    expect(result).toMatchObject({ modelName: 'm', modelVersion: '3', id: 'a', parameters: { sequence: 1 } })
    expect(result.outputs).toEqual({
      h: { dtype: 'float16', shape: [1], data: Uint16Array.of(0x3c01) },
      j: { dtype: 'int32', shape: [2, 2], data: Int32Array.of(1, 2, 3, 4) },
      t: { dtype: 'string', shape: [2], data: ['a', ''], parameters: { content_type: 'str' } },
      d: { dtype: 'float64', shape: [1], data: Float64Array.of(NaN) },
    })
  })

  it('keeps all digits of 64-bit integers in JSON, and the text beside them', async () => {
    const text =
      '{"model_name":"m","outputs":[{"name":"i","datatype":"INT64","shape":[3],"data":[9223372036854775807,-9007199254740993,7]},' +
      '{"name":"u","datatype":"UINT64","shape":[1,1],"data":[[18446744073709551615]]},' +
      '{"name":"f","datatype":"FP64","shape":[3],"data":[0.1234567890123456, -0, null]},' +
      '{"name":"t","datatype":"BYTES","shape":[1],"data":["[9223372036854775807]"]},' +
      '{"name":"b","datatype":"BOOL","shape":[2],"data":[true,0]}]}'
    const server = await scripted({ [infer]: json(text) })
    const { outputs } = await new InferenceClient({ url: server.url, binary: false }).infer('m', { inputs })
    expect(outputs.i?.data).toEqual(BigInt64Array.of(2n ** 63n - 1n, -(2n ** 53n) - 1n, 7n))
    expect(outputs.u?.data).toEqual(BigUint64Array.of(2n ** 64n - 1n))
    expect(outputs.f?.data).toEqual(Float64Array.of(0.1234567890123456, -0, NaN))
    expect(outputs.t?.data).toEqual(['[9223372036854775807]'])
    expect(outputs.b?.data).toEqual(Uint8Array.of(1, 0))
  })

  it('is typed and checked by the dtypes that are asked for', async () => {
    const output = { name: 'p', datatype: 'FP32', shape: [1], data: [0.5] }
    const server = await scripted({ [infer]: json({ ...answer, outputs: [output] }) })
    const client = new InferenceClient({ url: server.url, binary: false })
    const { outputs } = await client.infer('m', { inputs, outputs: { p: 'float32' } })
    const data: Float32Array = outputs.p.data
    expect(data).toEqual(Float32Array.of(0.5))
    expect((await client.infer('m', { inputs, outputs: ['p'] })).outputs.p.dtype).toBe('float32')
    const wrong = client.infer('m', { inputs, outputs: { p: 'int64' } })
    await expect(wrong).rejects.toThrow('output "p" is float32, not int64')
    await expect(client.infer('m', { inputs, outputs: ['q'] })).rejects.toThrow('output "q" is missing')
  })

  const output = { name: 'p', datatype: 'FP32', shape: [1], parameters: { binary_data_size: 4 } }
  const four = new Uint8Array(4)
  const text = { name: 't', datatype: 'BYTES', shape: [1], data: ['a'] }
  const deep = (depth: number) => {
    const data = JSON.parse('['.repeat(depth) + '1' + ']'.repeat(depth)) as unknown
    return { name: 'd', datatype: 'FP32', shape: new Array<number>(depth).fill(1), data }
  }
  it.each<[string, Act, string]>([
    ['no JSON', json('<html>'), 'it is no JSON'],
    ['a list', json('[]'), 'its JSON is no object'],
    ['without outputs', json({ model_name: 'm' }), 'no list of outputs'],
    ['without a name', json({ outputs: [] }), '"model_name" must be a text'],
    ['of an unknown type', json({ ...answer, outputs: [{ ...output, datatype: 'BF16' }] }), 'BF16'],
    ['without a shape', json({ ...answer, outputs: [{ ...output, shape: [-1] }] }), 'has no shape'],
    ['of too few bytes', binary({ ...answer, outputs: [output] }, four.subarray(1)), 'ends 1 bytes before'],
    ['of too many bytes', binary({ ...answer, outputs: [output] }, four, four), '4 bytes of it belong to no'],
    ['of another size', binary({ ...answer, outputs: [{ ...output, shape: [2] }] }, four), '8 bytes; got 4'],
    [
      'of a wrong size',
      json({ ...answer, outputs: [{ ...output, parameters: { binary_data_size: -1 } }] }),
      '-1',
    ],
    [
      'with another count',
      json({ ...answer, outputs: [{ ...output, parameters: {}, data: [1, 2] }] }),
      'with 2',
    ],
    ['with a text', json({ ...answer, outputs: [{ ...output, parameters: {}, data: ['1'] }] }), 'got "1"'],
    ['of a wrong header', json(answer, 200, { 'inference-header-content-length': '9999' }), '9999'],
    ['of too many dimensions', json({ ...answer, outputs: [deep(65)] }), 'has no shape'],
    ['with an output twice', json({ ...answer, outputs: [text, text] }), 'output "t" is there twice'],
  ])('%s is INVALID_RESPONSE', async (_, act, message) => {
    const server = await scripted({ [infer]: act })
    const call = new InferenceClient({ url: server.url, binary: true }).infer('m', { inputs })
    await expect(call).rejects.toThrow(message)
    await expect(call).rejects.toMatchObject({ code: 'INVALID_RESPONSE', model: 'm', endpoint: server.url })
    expect(server.seen).toHaveLength(1)
  })
})

describe('an error', () => {
  it.each([
    [{ error: 'no model "m"' }, 404, 'no model "m"'],
    [{ detail: [{ msg: 'wrong' }] }, 422, '[{"msg":"wrong"}]'],
    ['a < b\n', 400, 'a < b'],
    ['<!DOCTYPE html>\n<body>\n<pre>Cannot POST /x</pre>\n</body>', 404, 'Cannot POST /x'],
    ['<>', 400, undefined],
    ['', 500, undefined],
  ])('has what the server said of it: %j', async (body, status, serverMessage) => {
    const server = await scripted({ [infer]: json(body, status) })
    const error: unknown = await new InferenceClient({ url: server.url, binary: false })
      .infer('m', { inputs })
      .catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(InferenceError)
    expect(InferenceError.is(error, 'SERVER_ERROR')).toBe(true)
    expect(InferenceError.is(error, 'TIMEOUT')).toBe(false)
    expect(error).toMatchObject({ status, serverMessage, model: 'm', endpoint: server.url })
    expect((error as Error).message).toContain(`m at ${server.url}: ${status}`)
    expect(server.seen).toHaveLength(1)
  })

  it('of an option names it', () => {
    const make = (options: object) => () => new InferenceClient({ url: 'http://a', ...options })
    expect(make({ url: 'a' })).toThrow('url must be an http:// or https:// address')
    for (const none of [undefined, null, 'http://a'])
      expect(() => new InferenceClient(none as never)).toThrow('its options must be an object')
    expect(make({ url: 'http://a', timeOutMs: 5 })).toThrow(
      'unknown option "timeOutMs". They are url, headers, fetch, timeoutMs',
    )
    expect(make({ url: 'http://me:secret@a' })).toThrow('which go into the headers')
    expect(make({ url: 'http://a?b' })).toThrow('without a query')
    expect(make({ timeoutMs: 0 })).toThrow('timeoutMs must be an integer')
    expect(make({ retries: -1 })).toThrow('retries must be an integer')
    expect(make({ fetch: 1 })).toThrow('fetch must be a function')
    expect(make({ binary: 'yes' })).toThrow('binary must be true or false')
    expect(make({ maxResponseBytes: 0 })).toThrow('maxResponseBytes must be an integer')
    expect(make({ headers: 'a: b' })).toThrow('headers must be an object')
    expect(make({ headers: { a: undefined } })).toThrow('headers["a"] must be a text that HTTP can carry')
    expect(make({ headers: { a: 'b\nc' } })).toThrow('headers["a"] must be')
    expect(make({ headers: { 'Content-Length': '3' } })).toThrow('headers must be without content-length')
  })
})

describe('a call', () => {
  const clientOf = (url: string, options = {}) => new InferenceClient({ url, binary: false, ...options })

  it.each<[string, Act]>([
    ['hangs up before an answer', hangUp],
    ['answers 429', json('', 429)],
    ['answers 502', json('', 502)],
    ['answers 503', json({ error: 'busy' }, 503, { 'retry-after': '0' })],
    ['answers 504', json({ error: 'late' }, 504)],
  ])('is tried again where the server %s', async (_, act) => {
    const server = await scripted({ [infer]: [act, act, json(answer)] })
    expect(await clientOf(server.url).infer('m', { inputs })).toMatchObject({ modelName: 'm' })
    expect(server.seen).toHaveLength(3)
  })

  it('is tried as often as its retries say, and then fails with the last error', async () => {
    const server = await scripted({ [infer]: json({ error: 'busy' }, 503) })
    await expect(clientOf(server.url, { retries: 1 }).infer('m', { inputs })).rejects.toMatchObject({
      status: 503,
      serverMessage: 'busy',
    })
    expect(server.seen).toHaveLength(2)
    await server.close()
    const gone = clientOf(server.url, { retries: 1 }).serverMetadata()
    await expect(gone).rejects.toMatchObject({ code: 'CONNECTION_FAILED', status: undefined })
    await expect(gone).rejects.toThrow('ECONNREFUSED')
  })

  it.each<[string, Act, object]>([
    ['breaks off its answer', breakOff, { code: 'CONNECTION_FAILED', status: 200 }],
    ['answers 500', json({ error: 'no' }, 500), { status: 500 }],
    ['answers 400', json({ error: 'no' }, 400), { status: 400 }],
  ])('is not tried again where the server %s', async (_, act, error) => {
    const server = await scripted({ [infer]: act })
    await expect(clientOf(server.url).infer('m', { inputs })).rejects.toMatchObject(error)
    expect(server.seen).toHaveLength(1)
  })

  it('that the server asks to come back after its time is not waited for', async () => {
    const server = await scripted({ [infer]: json({}, 503, { 'retry-after': '60' }) })
    const call = clientOf(server.url).infer('m', { inputs }, { timeoutMs: 5000 })
    await expect(call).rejects.toMatchObject({ status: 503, retryAfterMs: 60_000 })
    expect(server.seen).toHaveLength(1)
  })

  it('ends at its timeoutMs, and is not tried again', async () => {
    const server = await scripted({ [infer]: silence })
    const call = clientOf(server.url, { timeoutMs: 50 }).infer('m', { inputs })
    await expect(call).rejects.toMatchObject({ code: 'TIMEOUT', endpoint: server.url })
    await expect(call).rejects.toThrow('no answer within 50 ms')
    expect(server.seen).toHaveLength(1)
  })

  it.each([0, NaN, Infinity, 2 ** 31])('is not begun with a timeoutMs of %d', async (timeoutMs) => {
    const server = await scripted({})
    const call = clientOf(server.url).infer('m', { inputs }, { timeoutMs })
    await expect(call).rejects.toMatchObject({ code: 'INVALID_OPTIONS' })
    await expect(call).rejects.toThrow('timeoutMs must be an integer from 1 to 2147483647')
    expect(server.seen).toEqual([])
  })

  it('ends at its timeoutMs in the midst of an answer, and of its retries', async () => {
    const begins: Act = (response) => void response.writeHead(200).write('{')
    const server = await scripted({ [infer]: [json('', 503), begins] })
    const call = clientOf(server.url).infer('m', { inputs }, { timeoutMs: 500 })
    await expect(call).rejects.toMatchObject({ code: 'TIMEOUT' })
    expect(server.seen).toHaveLength(2)
  })

  it('ends with its signal, which the server notices', async () => {
    const abort = new AbortController()
    const reason = new Error('enough')
    let hungUp = false
    const waits: Act = (response) => {
      response.on('close', () => (hungUp = true))
      abort.abort(reason)
    }
    const server = await scripted({ [infer]: waits })
    const call = clientOf(server.url).infer('m', { inputs }, { signal: abort.signal })
    await expect(call).rejects.toMatchObject({ code: 'ABORTED', cause: reason })
    await expect.poll(() => hungUp).toBe(true)
    const again = clientOf(server.url).infer('m', { inputs }, { signal: abort.signal })
    await expect(again).rejects.toMatchObject({ code: 'ABORTED' })
    expect(server.seen).toHaveLength(1)
  })

  it('ends with its signal while it waits for another attempt', async () => {
    const abort = new AbortController()
    const busy: Act = (response, request) => {
      json('', 503, { 'retry-after': '10' })(response, request)
      setTimeout(() => abort.abort(), 50)
    }
    const server = await scripted({ [infer]: busy })
    const call = clientOf(server.url).infer('m', { inputs }, { signal: abort.signal })
    await expect(call).rejects.toMatchObject({ code: 'ABORTED' })
    expect(server.seen).toHaveLength(1)
  })

  it('leaves no listener at its signal', async () => {
    const server = await scripted({ [infer]: [json('', 503), json(answer)] })
    const { signal } = new AbortController()
    const added: unknown[] = []
    signal.addEventListener = (_: string, listener: unknown) => void added.push(listener)
    signal.removeEventListener = (_: string, listener: unknown) =>
      void added.splice(added.indexOf(listener), 1)
    await clientOf(server.url).infer('m', { inputs }, { signal })
    expect(added).toEqual([])
  })

  it('has its connection from the one before', async () => {
    const server = await scripted({ [infer]: json(answer) })
    const client = clientOf(server.url)
    for (let i = 0; i < 20; i++) await client.infer('m', { inputs })
    expect(server.connections).toBeLessThan(5)
  })

  it('is made with the fetch that is given', async () => {
    const urls: string[] = []
    const fetch = async (url: unknown) => {
      urls.push(String(url))
      return Response.json({ name: 'x', version: '1', extensions: [] })
    }
    await new InferenceClient({ url: 'http://nowhere/base/', fetch: fetch }).serverMetadata()
    expect(urls).toEqual(['http://nowhere/base/v2'])
  })
})

describe('health', () => {
  it('is true for 200, false for what says no, and an error where nothing is said of it', async () => {
    const server = await scripted({
      '/v2/health/live': json(''),
      '/v2/health/ready': json('', 400),
      '/v2/models/m/ready': [json({ name: 'm', ready: true }), json('', 503)],
      '/v2/models/o/ready': [json({ name: 'o', ready: false }), json('null')],
      '/v2/models/m/versions/2/ready': json('', 401),
    })
    const client = new InferenceClient({ url: server.url })
    expect(await client.serverLive()).toBe(true)
    expect(await client.serverReady()).toBe(false)
    expect(await client.modelReady('m')).toBe(true)
    expect(await client.modelReady('m')).toBe(false)
    expect(await client.modelReady('n')).toBe(false)
    expect(await client.modelReady('o')).toBe(false)
    expect(await client.modelReady('o')).toBe(true)
    await expect(client.modelReady('m', { version: '2' })).rejects.toMatchObject({ status: 401 })
    expect(server.seen).toHaveLength(8)
    await server.close()
    await expect(client.serverLive()).rejects.toMatchObject({ code: 'CONNECTION_FAILED' })
  })
})

describe('metadata', () => {
  it('is what the server says, with empty lists where it says nothing', async () => {
    const x = { name: 'x', datatype: 'FP32', shape: [-1, 30] }
    const server = await scripted({
      '/v2': binaryServer,
      '/v2/models/m': json({ name: 'm', versions: ['1'], platform: 'p', inputs: [x], outputs: [] }),
      '/v2/models/bare': json({ name: 'bare', platform: '' }),
      '/v2/models/wrong': json({ name: 'wrong', inputs: [{ name: 'x', datatype: 'FP32', shape: ['a'] }] }),
      '/v2/models/m/stats': json({ model_stats: [{ name: 'm', version: '1', inference_count: 2 }] }),
      '/v2/models/stats': json({ model_stats: [] }),
      '/v2/repository/index': json([{ name: 'm', version: '1', state: 'READY' }]),
    })
    const client = new InferenceClient({ url: server.url })
    expect(await client.serverMetadata()).toEqual({
      name: 'test',
      version: '1',
      extensions: ['binary_tensor_data'],
    })
    expect(await client.modelMetadata('m')).toEqual({
      name: 'm',
      versions: ['1'],
      platform: 'p',
      inputs: [x],
      outputs: [],
    })
    expect(await client.modelMetadata('bare')).toMatchObject({ versions: [], inputs: [], outputs: [] })
    await expect(client.modelMetadata('wrong')).rejects.toThrow('the shape of "x" is not of integers')
    expect(await client.statistics('m')).toEqual([{ name: 'm', version: '1', inference_count: 2 }])
    expect(await client.statistics()).toEqual([])
    expect(await client.repositoryIndex({ ready: true })).toEqual([
      { name: 'm', version: '1', state: 'READY' },
    ])
    expect(server.seen.at(-1)).toMatchObject({ method: 'POST', body: Buffer.from('{"ready":true}') })
  })
})
