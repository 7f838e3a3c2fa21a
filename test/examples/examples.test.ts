import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { text } from 'node:stream/consumers'
import { beforeAll, expect, onTestFinished, test } from 'vitest'

const top = fileURLToPath(new URL('../..', import.meta.url))

beforeAll(() => {
  if (!existsSync(`${top}/dist/index.js`)) {
    throw new Error('The examples import what is built, and nothing is: run `npm run build` first.')
  }
})

/** Runs an example from the top folder, as the README says; it does not outlive the test. */
function run(file: string, env: NodeJS.ProcessEnv = process.env): ChildProcessWithoutNullStreams {
  const child = spawn(process.execPath, [`examples/${file}`], { cwd: top, env: { ...env, PORT: '0' } })
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
  const { LANG: _, LC_CTYPE: __, ...rest } = process.env
  const child = run('direct/predict.js', { ...rest, LC_ALL: 'C' })
  expect(await text(child.stdout)).toMatch(/^positive /)
})

test('examples/direct/predict.js predicts with one version and then with the other, and ends by itself', async () => {
  const child = run('direct/predict.js')
  const ended = once(child, 'exit')
  const [output, errors] = await Promise.all([text(child.stdout), text(child.stderr)])
  expect(await ended).toEqual([0, null])
  expect(errors).toBe('')
  expect(output).toMatch(/^positive 0\.\d+ 2\.0\npositive 0\.\d+ 1\.0\n$/)
})
