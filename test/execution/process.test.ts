import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { sharedPermits } from '../../src/execution/permits.js'
import { openInProcess } from '../../src/execution/process.js'
import { NotBegun, type Artifact, type Session } from '../../src/execution/session.js'
import { convolution, identityModel, loopModel, int4Output, twoInputs } from '../onnx/models.js'
import { writeFileSync } from 'node:fs'
import { isRunning, lastPid } from './child-processes.js'
import { bundle, start, top } from './program.js'
import { feeds, modelFolder, numbers, temporaryFolder, turnsDuring } from './support.js'

const runtime = vi.hoisted(() => ({ path: undefined as string | undefined }))
vi.mock('../../src/execution/runtime.js', async (original) => {
  const real = await original<typeof import('../../src/execution/runtime.js')>()
  return { findRuntime: () => runtime.path ?? real.findRuntime() }
})

const folder = temporaryFolder()
const write = modelFolder()
const identity = write('identity', identityModel())
const busy = write('busy', loopModel({ ms: 300 }))
const endless = write('endless', loopModel({ ms: 600_000 }))
const permits = sharedPermits()

const opened: Session[] = []
afterEach(async () => {
  await Promise.all(opened.splice(0).map((session) => session.close()))
  expect(permits.available).toBe(permits.total)
})

async function open(artifact: Artifact): Promise<Session> {
  const session = await openInProcess(artifact)
  opened.push(session)
  return session
}

/** Settles once a run computes, which is when it has its permits. */
async function computing(): Promise<void> {
  await expect.poll(() => permits.available, { interval: 2 }).toBeLessThan(permits.total)
  await new Promise((resolve) => setTimeout(resolve, 50))
}

describe('a session in a process', () => {
  it('says where it is and what the model takes and gives', async () => {
    const session = await open(write('two-inputs', twoInputs()))
    expect(session).toMatchObject({ placement: 'process', slots: 2, width: 1, providers: ['cpu'] })
    expect(session.signature.inputs.map(({ name }) => name)).toEqual(['a', 'b'])
    expect(lastPid()).not.toBe(process.pid)
  })

  it('answers each of many runs with its own rows, in the order they were handed over', async () => {
    const session = await open(identity)
    const settled: number[] = []
    const answers = await Promise.all(
      Array.from({ length: 30 }, async (_, i) => {
        const data = Float32Array.of(i, i + 1, i + 2)
        const { outputs } = await session.run({ x: { dtype: 'float32', shape: [1, 3], data } })
        settled.push(i)
        return numbers(outputs)
      }),
    )
    expect(answers).toEqual(answers.map((_, i) => [i, i + 1, i + 2]))
    expect(settled).toEqual(answers.map((_, i) => i))
  })

  it('takes and gives tensors of many megabytes, and leaves the feeds as they are', async () => {
    const session = await open(identity)
    const given = feeds(1_000_000, 3)
    const { outputs } = await session.run(given)
    expect(Buffer.compare(Buffer.from(given.x.data.buffer), bytesOf(outputs.y?.data))).toBe(0)
  })

  it('is sent of a larger buffer only what it takes', async () => {
    const session = await open(identity)
    const data = new Float32Array(new ArrayBuffer(64 * 1024 * 1024), 1024, 3).fill(7)
    const { outputs } = await session.run({ x: { dtype: 'float32', shape: [1, 3], data } })
    expect(numbers(outputs)).toEqual([7, 7, 7])
    expect((outputs.y?.data as Float32Array).buffer.byteLength).toBeLessThan(1024 * 1024)
  })

  it('leaves the event loop turning while it loads and runs', async () => {
    const loading = open(busy)
    expect(await turnsDuring(loading)).toBeGreaterThan(5)
    expect(await turnsDuring((await loading).run(feeds(1, 4)))).toBeGreaterThan(50)
  })

  it('holds as many permits as a run has threads, one run at a time', async () => {
    const session = await open({ ...busy, intraOpThreads: permits.total })
    const seen = new Set<number>()
    const timer = setInterval(() => seen.add(permits.available), 1)
    await Promise.all([session.run(feeds(1, 4)), session.run(feeds(1, 4))])
    clearInterval(timer)
    expect([...seen].sort()).toContain(0)
    expect(Math.min(...seen)).toBe(0)
  })

  it('waits for permits that others have, without holding up this thread', async () => {
    const session = await open(identity)
    permits.acquire(permits.total, -1)
    const run = session.run(feeds(1, 3)).then(() => 'done')
    const pause = new Promise((resolve) => setTimeout(resolve, 50, 'still waiting'))
    expect(await Promise.race([run, pause])).toBe('still waiting')
    permits.release(permits.total)
    expect(await run).toBe('done')
  })

  it('fails a run alone where the runtime refuses it', async () => {
    const session = await open(identity)
    await expect(session.run(feeds(1, 4))).rejects.toMatchObject({ code: 'INFERENCE_FAILED' })
    expect(numbers((await session.run(feeds(1, 3))).outputs)).toHaveLength(3)
  })

  it("is not disturbed by the host's own Node options", async () => {
    vi.stubEnv('NODE_OPTIONS', '--input-type=module --no-such-option-of-node')
    const session = await open(identity).finally(() => vi.unstubAllEnvs())
    expect(numbers((await session.run(feeds(1, 3))).outputs)).toHaveLength(3)
  })

  it.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)('leaves %s to its parent', async (signal) => {
    const session = await open(busy)
    const run = session.run(feeds(1, 4))
    process.kill(lastPid(), signal)
    await run
    process.kill(lastPid(), signal)
    await session.run(feeds(1, 4))
  })

  it('is refused a model that is broken, and leaves no process', async () => {
    const broken = write(
      'broken',
      Uint8Array.from({ length: 64 }, (_, i) => i * 37),
    )
    await expect(openInProcess(broken)).rejects.toMatchObject({
      code: 'INVALID_MODEL',
      message: expect.stringContaining(broken.path),
    })
    expect(isRunning(lastPid())).toBe(false)
  })
})

describe('closing', () => {
  it('waits for the runs that were handed over, and ends the process', async () => {
    const session = await open(busy)
    const pid = lastPid()
    const order: string[] = []
    const runs = [1, 2].map((i) => session.run(feeds(1, 4)).then(() => order.push(`run ${i}`)))
    await session.close().then(() => order.push('closed'))
    await Promise.all(runs)
    expect(order).toEqual(['run 1', 'run 2', 'closed'])
    expect(isRunning(pid)).toBe(false)
    await expect(session.run(feeds(1, 3))).rejects.toMatchObject({ code: 'CLOSED' })
  })

  it('that is cut off ends the process inside a run, and tells each run that it is lost', async () => {
    const session = await open(endless)
    const pid = lastPid()
    const runs = [session.run(feeds(1, 4)), session.run(feeds(1, 4))]
    await computing()
    await session.close(true)
    expect(isRunning(pid)).toBe(false)
    for (const run of runs) await expect(run).rejects.toMatchObject({ code: 'WORKER_DIED' })
  })

  it('is no death', async () => {
    const session = await open(identity)
    const died = session.died.then(() => true)
    await session.close()
    expect(await Promise.race([died, new Promise((resolve) => setImmediate(resolve, false))])).toBe(false)
  })
})

describe('a process that dies', () => {
  it.each(['SIGKILL', 'SIGSEGV', 'SIGABRT'] as const)(
    'of %s costs the run that it computed; the next one is whole',
    async (signal) => {
      const session = await open(endless)
      const given = feeds(1, 4)
      const [computed, next] = [session.run(feeds(1, 4)), session.run(given)]
      await computing()
      process.kill(lastPid(), signal)
      const message = `the worker process ended with ${signal}`
      const death = { code: 'WORKER_DIED', message, headers: { 'retry-after': '1' } }
      await expect(computed).rejects.toMatchObject({ ...death, retryable: true })
      await expect(computed).rejects.not.toBeInstanceOf(NotBegun)
      await expect(next).rejects.toBeInstanceOf(NotBegun)
      expect(given.x.data).toHaveLength(4)
      expect(await session.died).toMatchObject(death)
      await expect(session.run(feeds(1, 4))).rejects.toMatchObject(death)
    },
  )

  it('of an abort inside the runtime leaves this one alive', async () => {
    // The runtime aborts where it is to give int4, which is refused at load: this one tells of another type.
    const real = (
      await vi.importActual<typeof import('../../src/execution/runtime.js')>('../../src/execution/runtime.js')
    ).findRuntime()
    runtime.path = join(folder, 'runtime.cjs')
    writeFileSync(
      runtime.path,
      `const { InferenceSession } = require(${JSON.stringify(real)})
      exports.InferenceSession = { create: async (...args) => {
        const session = await InferenceSession.create(...args)
        const outputMetadata = session.outputMetadata.map((output) => ({ ...output, type: 'float32' }))
        return { inputMetadata: session.inputMetadata, outputMetadata, run: (feeds) => session.run(feeds),
          release: () => session.release() }
      } }`,
    )
    const session = await open(write('int4', int4Output())).finally(() => (runtime.path = undefined))
    await expect(session.run(feeds(1, 2))).rejects.toMatchObject({
      code: 'WORKER_DIED',
      message: 'the worker process ended with SIGABRT',
    })
    await session.died
  })

  it('by itself ends as it would alone', async () => {
    runtime.path = join(folder, 'exiting.cjs')
    writeFileSync(
      runtime.path,
      `const metadata = [{ name: 'x', isTensor: true, type: 'float32', shape: ['batch', 3] }]
      const run = () => new Promise(() => { setImmediate(() => process.exit(3)) })
      exports.InferenceSession = {
        create: async () => ({ inputMetadata: metadata, outputMetadata: metadata, release: async () => {}, run }),
      }`,
    )
    const session = await open(identity).finally(() => (runtime.path = undefined))
    await expect(session.run(feeds(1, 3))).rejects.toMatchObject({
      code: 'WORKER_DIED',
      message: 'the worker process ended with code 3',
    })
  })

  it('while it loads is told to who loads', async () => {
    const loading = openInProcess(identity)
    process.kill(lastPid(), 'SIGKILL')
    await expect(loading).rejects.toMatchObject({ code: 'WORKER_DIED' })
  })
})

describe('a run that takes longer than it may', () => {
  it('is given up, and its process killed', async () => {
    const session = await open({ ...endless, runTimeoutMs: 100 })
    const pid = lastPid()
    const [run, next] = [session.run(feeds(1, 4)), session.run(feeds(1, 4))]
    await expect(run).rejects.toMatchObject({ code: 'RUN_TIMEOUT', retryable: true })
    await expect(next).rejects.toBeInstanceOf(NotBegun)
    expect(await session.died).toMatchObject({ message: expect.stringContaining('was killed') })
    await session.close()
    expect(isRunning(pid)).toBe(false)
  })

  it('is counted from when it has its permits', async () => {
    const session = await open({ ...identity, runTimeoutMs: 200 })
    permits.acquire(permits.total, -1)
    const run = session.run(feeds(1, 3))
    await new Promise((resolve) => setTimeout(resolve, 400))
    permits.release(permits.total)
    expect(numbers((await run).outputs)).toHaveLength(3)
  })
})

describe('the end of the host', () => {
  let program: string
  beforeAll(async () => {
    writeFileSync(join(folder, 'endless.onnx'), loopModel({ ms: 600_000 }))
    writeFileSync(join(folder, 'heavy.onnx'), convolution())
    program = await bundle('process-host', folder)
  })

  it.each(['exit', 'throw', 'SIGTERM', 'SIGKILL'])(
    'by %s ends a process that is inside the runtime',
    async (how) => {
      const { process: host, ended } = start(program, [folder, how])
      const pid = await new Promise<number>((resolve) =>
        host.stdout?.on('data', (text: string) => {
          resolve(Number(text))
          if (how.startsWith('SIG')) host.kill(how as NodeJS.Signals)
        }),
      )
      const { code, signal } = await ended
      expect(signal ?? code).toBe({ exit: 7, throw: 1 }[how] ?? how)
      await expect.poll(() => isRunning(pid)).toBe(false)
    },
  )

  it('is not kept off by an idle process, which ends with it', async () => {
    const { process: host, ended } = start(program, [folder, 'idle'])
    let pid = NaN
    host.stdout?.on('data', (text: string) => (pid = Number(text)))
    expect(await ended).toMatchObject({ code: 0, signal: null, stderr: '' })
    await expect.poll(() => isRunning(pid)).toBe(false)
  })

  it.skipIf(process.platform === 'win32')('may wait for answers after a signal to its group', async () => {
    // As a terminal does with Ctrl-C: to every process of the group.
    const host = spawn(process.execPath, [program, folder, 'drain'], {
      cwd: top,
      detached: true,
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let said = ''
    host.stdout.setEncoding('utf8').on('data', (text: string) => {
      if (said === '') process.kill(-(host.pid ?? NaN), 'SIGINT')
      said += text
    })
    await new Promise((resolve) => host.once('close', resolve))
    expect(said.trim().split('\n').slice(1)).toEqual(['answered', 'answered', 'answered', 'closed'])
  })
})

function bytesOf(data: unknown): Buffer {
  if (!ArrayBuffer.isView(data)) throw new Error('no typed array')
  return Buffer.from(data.buffer, data.byteOffset, data.byteLength)
}
