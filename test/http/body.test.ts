import { PassThrough, Readable } from 'node:stream'
import { describe, expect, test } from 'vitest'
import { readJsonObject } from '../../src/http/body.js'
import type { HttpBody, HttpRequest } from '../../src/http/exchange.js'

function request(body: HttpBody, headers: HttpRequest['headers'] = {}): HttpRequest {
  return { params: {}, query: '', headers, body, signal: new AbortController().signal, source: undefined }
}

async function read(asked: HttpRequest, maxBodyBytes: number) {
  const limits = { maxBodyBytes, maxBodyDepth: 64, maxBodyElements: 100 }
  return (await readJsonObject(asked, limits)).fields
}

function stream(...chunks: (string | Uint8Array)[]): HttpBody & { readonly stream: Readable } {
  return {
    stream: Readable.from(
      chunks.map((chunk) => Buffer.from(chunk as string)),
      { objectMode: false },
    ),
  }
}

describe('a body that the host has parsed', () => {
  test('is used as it is, whatever its headers say', async () => {
    const parsed = { x: 1 }
    const headers = { 'content-type': 'text/plain', 'content-length': '1000' }
    expect(await read(request({ parsed }, headers), 1)).toBe(parsed)
  })

  test('may have no prototype', async () => {
    const parsed = Object.assign(Object.create(null) as object, { x: 1 })
    expect(await read(request({ parsed }), 1)).toBe(parsed)
  })

  test('is parsed where the host left it as bytes', async () => {
    expect(await read(request({ parsed: Buffer.from('{"x":1}') }), 1)).toEqual({ x: 1 })
    expect(await read(request({ parsed: new TextEncoder().encode('{"x":1}') }), 1)).toEqual({
      x: 1,
    })
    await expect(read(request({ parsed: Buffer.from('') }), 1)).rejects.toMatchObject({
      code: 'INVALID_REQUEST',
      message: 'the body is empty; send a JSON object.',
    })
  })

  test.each([undefined, null, 5, 'text', true, [{}]])('is refused where it is %j', async (parsed) => {
    await expect(read(request({ parsed }), 1)).rejects.toMatchObject({ code: 'INVALID_REQUEST' })
  })
})

describe('a body to be read', () => {
  test('may be cut anywhere, within a character too', async () => {
    const bytes = Buffer.from('{"text":"naïve 🙂"}')
    const parts = Array.from(bytes, (byte) => Uint8Array.of(byte))
    expect(await read(request(stream(...parts)), 100)).toEqual({ text: 'naïve 🙂' })
  })

  test('counts as many bytes as come, not as its header says', async () => {
    const body = stream('{"x":', '[1,2,3]', '}')
    await expect(read(request(body, { 'content-length': '5' }), 12)).rejects.toMatchObject({
      code: 'BODY_TOO_LARGE',
      status: 413,
      message: 'the body is larger than 12 bytes.',
    })
  })

  test('is refused at once where its header says that it is too large, and left alone', async () => {
    const body = stream('{"x":1}')
    await expect(read(request(body, { 'content-length': '8' }), 7)).rejects.toMatchObject({
      code: 'BODY_TOO_LARGE',
    })
    expect(body.stream.readableDidRead).toBe(false)
  })

  test('is read to its end and dropped once it was too large, and its stream is not destroyed', async () => {
    const body = new PassThrough()
    const refused = expect(read(request({ stream: body }), 5)).rejects.toMatchObject({
      code: 'BODY_TOO_LARGE',
    })
    body.write('123456')
    await refused
    expect(body.destroyed).toBe(false)
    for (let i = 0; i < 100; i++) body.write(Buffer.alloc(10_000))
    expect(body.readableFlowing).toBe(true)
    expect(body.listenerCount('data')).toBe(1)
    body.end()
    await new Promise((resolve) => body.once('end', resolve))
  })

  test('that fails once it was refused harms nobody', async () => {
    const body = new PassThrough()
    const refused = expect(read(request({ stream: body }), 5)).rejects.toMatchObject({
      code: 'BODY_TOO_LARGE',
    })
    body.write('123456')
    await refused
    const closed = new Promise((resolve) => body.once('close', resolve))
    body.destroy(new Error('connection reset'))
    await closed
  })

  test.each([
    ['fails', (body: PassThrough) => body.destroy(new Error('connection reset')), 'connection reset'],
    ['ends too early', (body: PassThrough) => body.destroy(), 'Premature close'],
  ])('that %s is an aborted request', async (_, end, reason) => {
    const body = new PassThrough()
    const reading = read(request({ stream: body }), 100)
    body.write('{"x":')
    end(body)
    await expect(reading).rejects.toMatchObject({
      code: 'ABORTED',
      message: `the body did not arrive whole: ${reason}`,
    })
  })

  test('that was read already, by whom it may be, is empty', async () => {
    const body = stream('{"x":1}')
    body.stream.resume()
    await new Promise((resolve) => body.stream.once('end', resolve))
    await expect(read(request(body), 100)).rejects.toMatchObject({ code: 'INVALID_REQUEST' })
  })
})
