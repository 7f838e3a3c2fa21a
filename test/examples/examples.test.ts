import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { text } from 'node:stream/consumers'
import { beforeAll, expect, onTestFinished, test } from 'vitest'
import { clientOf } from '../adapters/grpc/client.js'

const top = fileURLToPath(new URL('../..', import.meta.url))

beforeAll(() => {
  if (!existsSync(`${top}/dist/index.js`)) {
    throw new Error('The examples import what is built, and nothing is: run `npm run build` first.')
  }
})

/** Runs an example from the top folder, as the README says; it does not outlive the test. */
function run(file: string, env: NodeJS.ProcessEnv = {}): ChildProcessWithoutNullStreams {
  const child = spawn(process.execPath, [`examples/${file}`], {
    cwd: top,
    env: { ...process.env, PORT: '0', ...env },
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  return child
}

/** What an example has printed, once the pattern is in it. */
async function printed(child: ChildProcessWithoutNullStreams, pattern: RegExp): Promise<RegExpExecArray> {
  let output = ''
  for await (const chunk of child.stdout.iterator({ destroyOnReturn: false })) {
    output += String(chunk)
    const match = pattern.exec(output)
    if (match !== null) return match
  }
  throw new Error(`the example ended before it printed ${pattern.source}; it printed ${output}`)
}

test.each(['express/server.js', 'fastify/server.js'])(
  'examples/%s answers what it says to try, and ends cleanly on SIGTERM',
  async (file) => {
    const child = run(file)
    const errors = text(child.stderr)
    const curl = /^curl (?<url>\S+) -H '(?<header>[^:]+): (?<value>[^']+)' -d '(?<body>[^']+)'$/m
    const { url = '', header = '', value = '', body = '' } = (await printed(child, curl)).groups ?? {}

    const response = await fetch(url, { method: 'POST', headers: { [header]: value }, body })
    expect(response.status).toBe(200)
    expect(await response.json()).toEqual({
      request_id: expect.any(String),
      prediction: 'positive',
      confidence: expect.any(Number),
      model_version: '2.0',
      latency_ms: expect.any(Number),
    })
    const base = url.replace(/\/models\/.*$/, '')
    const { models } = (await (await fetch(`${base}/models`)).json()) as { models: { name: string }[] }
    expect(models.map(({ name }) => name)).toEqual(['digits', 'sentiment', 'tumor'])
    expect((await fetch(`${base}/ready`)).status).toBe(200)

    child.kill('SIGTERM')
    expect(await once(child, 'exit')).toEqual([0, null])
    expect(await errors).toBe('')
  },
)

test.each(['express/server.js', 'fastify/server.js'])(
  'examples/%s is not kept from its end by clients that send nothing, or half a request',
  async (file) => {
    const child = run(file)
    const { port = '' } = (await printed(child, /http:\/\/127\.0\.0\.1:(?<port>\d+)/)).groups ?? {}
    for (const sent of ['', 'POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{']) {
      const socket = connect(Number(port), '127.0.0.1').on('error', () => {})
      onTestFinished(() => void socket.destroy())
      await once(socket, 'connect')
      socket.write(sent)
    }
    child.kill('SIGTERM')
    expect(await once(child, 'exit')).toEqual([0, null])
  },
)

test('the models that take text need no locale but C', async () => {
  const child = run('direct/predict.js', { LANG: 'C', LC_CTYPE: 'C', LC_ALL: 'C' })
  expect(await text(child.stdout)).toMatch(/^positive /)
})

test.each(['express/server.js', 'fastify/server.js'])(
  'examples/%s says that it is not ready before it ends, and answers meanwhile',
  async (file) => {
    const child = run(file, { DRAIN_MS: '1000' })
    const curl = /^curl (?<url>\S+)/m
    const { url = '' } = (await printed(child, curl)).groups ?? {}
    const ready = url.replace(/\/models\/.*$/, '/ready')
    expect((await fetch(ready)).status).toBe(200)
    child.kill('SIGTERM')
    await expect.poll(async () => (await fetch(ready)).status).toBe(503)
    const body = JSON.stringify({ text: 'I love it' })
    const headers = { 'content-type': 'application/json' }
    expect((await fetch(url, { method: 'POST', headers, body })).status).toBe(200)
    expect(await once(child, 'exit')).toEqual([0, null])
  },
)

test.each(['app/express.js', 'app/fastify.js', 'app/hono.js'])(
  'examples/%s answers from its own route and from the door, and checks what the door is given',
  async (file) => {
    const child = run(file)
    const errors = text(child.stderr)
    const [origin] = await printed(child, /http:\S+\d/)
    expect(await (await fetch(`${origin}/mood/I%20love%20it`)).json()).toEqual({ mood: 'positive' })
    const ask = (body: object) =>
      fetch(`${origin}/ml/models/sentiment/predict`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
      })
    expect(await (await ask({ text: 'I hate it' })).json()).toMatchObject({ prediction: 'negative' })
    const refused = await ask({ text: 5 })
    expect(refused.status).toBe(400)
    expect(await refused.json()).toMatchObject({ code: 'INVALID_INPUT' })
    child.kill('SIGTERM')
    expect(await once(child, 'exit')).toEqual([0, null])
    expect(await errors).toBe('')
  },
)

test('the tests of examples/app pass', async () => {
  const child = run('app/mood.test.js')
  const output = text(child.stdout)
  expect(await once(child, 'exit')).toEqual([0, null])
  expect(await output).toMatch(/^(#|ℹ) pass 2$/m)
})

/** What an example prints, which ends by itself and without a word on stderr. */
async function outputOf(file: string): Promise<string> {
  const child = run(file)
  const ended = once(child, 'exit')
  const [output, errors] = await Promise.all([text(child.stdout), text(child.stderr)])
  expect(await ended).toEqual([0, null])
  expect(errors).toBe('')
  return output
}

test('examples/direct/custom.js answers, from the cache, and by its fallback', async () => {
  expect(await outputOf('direct/custom.js')).toBe('6 1 miss\n6 1 hit\n9 0.1 fallback estimate\n')
})

test('examples/direct/stream.js answers piece by piece, and as a whole', async () => {
  const whole = '4 pieces: Once there was a kiwi, which grew and grew.\n'
  expect(await outputOf('direct/stream.js')).toBe(`Once there was a pear, which grew and grew.\n${whole}`)
})

test('examples/direct/pipeline.js answers by its stages', async () => {
  const reply = "Thank you! [ 'sentiment@2.0', 'template@1' ]\n"
  const review = "[ 'positive: I love the story.', 'negative: I hate the end.' ]\n"
  expect(await outputOf('direct/pipeline.js')).toBe(reply + review)
})

test('examples/direct/versions.js loads, switches, goes back and unloads', async () => {
  const states = "2.0 false\n[ '2.0 ready', '1.0 unloaded' ]\n"
  expect(await outputOf('direct/versions.js')).toBe(`${states}positive\nnegative\npositive\n`)
})

test('examples/direct/validation.js validates, switches and compares', async () => {
  const output = await outputOf('direct/validation.js')
  expect(output).toMatch(/^1 [\d.]+ \[\] (true|false)\n\d+ \d+ [\d.]+ [\d.]+ 0\.\d+\n$/)
})

test('examples/direct/predict.js predicts with one version and then with the other, and ends by itself', async () => {
  const output = await outputOf('direct/predict.js')
  expect(output).toMatch(/^positive 0\.\d+ 2\.0\npositive 0\.\d+ 1\.0\n$/)
})

test('examples/grpc/server.js answers over HTTP and over gRPC, and ends cleanly on SIGTERM', async () => {
  const child = run('grpc/server.js', { GRPC_PORT: '0' })
  const errors = text(child.stderr)
  const { http = '', grpc = '' } =
    (await printed(child, /(?<http>http:\S+)\n.* on 127\.0\.0\.1:(?<grpc>\d+)/)).groups ?? {}
  expect((await fetch(`${http}/v2/models/sentiment/ready`)).status).toBe(200)
  const client = clientOf(Number(grpc))
  const inputs = [
    { name: 'text', datatype: 'BYTES', shape: [1], contents: { bytes_contents: [Buffer.from('I love it')] } },
  ]
  const outputs = [{ name: 'probabilities', parameters: { classification: { int64_param: 1 } } }]
  const answer = await client.call('ModelInfer', { model_name: 'sentiment', inputs, outputs })
  expect(String(answer.raw_output_contents)).toMatch(/^.{4}0\.\d+:1:positive$/s)
  child.kill('SIGTERM')
  expect(await once(child, 'exit')).toEqual([0, null])
  expect(await errors).toBe('')
})
