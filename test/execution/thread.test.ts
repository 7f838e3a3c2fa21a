import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import type { Worker } from 'node:worker_threads'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ServingError } from '../../src/errors.js'
import { loadRuntime } from '../../src/execution/onnx.js'
import { sharedPermits } from '../../src/execution/permits.js'
import { findRuntime } from '../../src/execution/runtime.js'
import type { Artifact, Session } from '../../src/execution/session.js'
import { openInThread } from '../../src/execution/thread.js'
import {
  addInt64,
  convolution,
  identityModel,
  int4Output,
  loopModel,
  mlp,
  sequenceOutput,
  twoInputs,
  zipMapModel,
} from '../onnx/models.js'
import { feeds, modelFolder, numbers, slowToLoad, turnsDuring } from './support.js'

const write = modelFolder()
const identity = write('identity', identityModel())
const busy = write('busy', loopModel({ ms: 300 }))
const long = write('long', loopModel({ ms: 1500 }))

/** Stands for the main thread where it takes permits itself. */
const thisThread = -1

const opened: Session[] = []
afterEach(async () => {
  await Promise.all(opened.splice(0).map((session) => session.close()))
})

async function open(artifact: Artifact): Promise<Session> {
  const session = await openInThread(artifact)
  opened.push(session)
  return session
}

/** Opens a session, and gives the worker that was started for it as well. */
async function openWithWorker(artifact: Artifact): Promise<[Session, Worker]> {
  const started = once(process, 'worker') as Promise<[Worker]>
  const session = await open(artifact)
  const [worker] = await started
  return [session, worker]
}

describe('a session in a thread', () => {
  it('says what the model takes and gives', async () => {
    const session = await open(write('two-inputs', twoInputs()))
    expect(session.signature).toEqual({
      inputs: [
        { name: 'a', dtype: 'float32', shape: ['batch', 2] },
        { name: 'b', dtype: 'int64', shape: ['batch', 1] },
      ],
      outputs: [
        { name: 'sum', dtype: 'float32', shape: ['batch', 1] },
        { name: 'next', dtype: 'int64', shape: ['batch', 1] },
      ],
      classes: {},
    })
  })

  it.each([
    { name: 'mlp', bytes: mlp(), shape: [5, 64] },
    { name: 'convolution', bytes: convolution({ layers: 1 }), shape: [2, 1, 8, 8] },
  ])('answers as onnxruntime itself does: $name', async ({ name, bytes, shape }) => {
    const { InferenceSession } = loadRuntime(findRuntime())
    const raw = await InferenceSession.create(bytes, { intraOpNumThreads: 1 })
    const { x } = feeds(...shape)
    const given = { type: x.dtype, dims: x.shape, data: x.data, location: 'cpu' }
    const expected = await raw.run({ x: given } as unknown as Parameters<typeof raw.run>[0])
    await raw.release()

    const session = await open(write(name, bytes))
    const { outputs, computeMs } = await session.run(feeds(...shape))
    expect(outputs).toEqual({
      y: { dtype: 'float32', shape: expected.y?.dims, data: expected.y?.data },
    })
    expect(computeMs).toBeGreaterThan(0)
  })

  it('answers each of many runs with its own rows, in the order they were handed over', async () => {
    const session = await open(write('add', addInt64()))
    const settled: number[] = []
    const runs = Array.from({ length: 50 }, async (_, i) => {
      const data = BigInt64Array.of(BigInt(i), 2n ** 60n, -1n)
      const { outputs } = await session.run({ x: { dtype: 'int64', shape: [1, 3], data } })
      settled.push(i)
      return numbers(outputs)
    })
    const answers = await Promise.all(runs)
    expect(answers).toEqual(runs.map((_, i) => [BigInt(i + 1), 2n ** 60n + 2n, 2n]))
    expect(settled).toEqual(runs.map((_, i) => i))
  })

  it('leaves the event loop turning while it loads', async () => {
    const loading = openInThread(write('slow-to-load', slowToLoad()))
    expect(await turnsDuring(loading)).toBeGreaterThan(50)
    opened.push(await loading)
  })

  it('leaves the event loop turning while it runs', async () => {
    const session = await open(busy)
    expect(await turnsDuring(session.run(feeds(1, 4)))).toBeGreaterThan(50)
  })

  it('loads beside a run of another session', async () => {
    const session = await open(busy)
    const order: string[] = []
    await Promise.all([
      session.run(feeds(1, 4)).then(() => order.push('run')),
      open(identity).then(() => order.push('load')),
    ])
    expect(order).toEqual(['load', 'run'])
  })
})

describe("a run's arrays", () => {
  it('are taken from the caller, and its outputs are his', async () => {
    const session = await open(identity)
    const given = feeds(2, 3)
    const { outputs } = await session.run(given)
    expect(given.x.data).toHaveLength(0)
    const y = outputs.y?.data as Float32Array
    y[0] = 9
    await session.run(feeds(2, 3))
    expect(y).toEqual(Float32Array.of(9, 0.1, 0.2, 0.3, 0.4, 0.5))
  })

  it('may share one buffer', async () => {
    const session = await open(write('two-inputs', twoInputs()))
    const buffer = new ArrayBuffer(16)
    const { outputs } = await session.run({
      a: { dtype: 'float32', shape: [1, 2], data: new Float32Array(buffer, 0, 2) },
      b: { dtype: 'int64', shape: [1, 1], data: new BigInt64Array(buffer, 8, 1).fill(41n) },
    })
    expect(numbers(outputs, 'next')).toEqual([42n])
  })

  it("may lie in Node's pool, which can't be taken", async () => {
    const session = await open(write('bytes', identityModel({ dtype: 'uint8' })))
    const data = Buffer.from('abc')
    const { outputs } = await session.run({ x: { dtype: 'uint8', shape: [1, 3], data } })
    expect(numbers(outputs)).toEqual([97, 98, 99])
    expect(data.toString()).toBe('abc')
  })

  it('may be empty', async () => {
    const session = await open(identity)
    const empty = feeds(0, 3)
    expect((await session.run(empty)).outputs.y).toMatchObject({ shape: [0, 3], data: new Float32Array(0) })
  })

  it('fail the run where they were taken before, and the session goes on', async () => {
    const session = await open(identity)
    const given = feeds(1, 3)
    await session.run(given)
    await expect(session.run(given)).rejects.toMatchObject({ code: 'INFERENCE_FAILED' })
    expect(numbers((await session.run(feeds(1, 3))).outputs)).toHaveLength(3)
  })
})

describe('a run that fails', () => {
  it("is rejected with the runtime's reason, and returns its permits", async () => {
    const session = await open(write('two-threads', mlp(), 2))
    await expect(session.run(feeds(1, 63))).rejects.toMatchObject({
      code: 'INFERENCE_FAILED',
      message: expect.stringContaining('dimension'),
    })
    const permits = sharedPermits()
    expect(permits.available).toBe(permits.total)
    expect((await session.run(feeds(1, 64))).outputs.y?.shape).toEqual([1, 2])
  })
})

describe('closing', () => {
  it('waits for the runs that were handed over', async () => {
    const session = await open(busy)
    const order: string[] = []
    const runs = [1, 2].map((i) => session.run(feeds(1, 4)).then(() => order.push(`run ${i}`)))
    await session.close().then(() => order.push('closed'))
    await Promise.all(runs)
    expect(order).toEqual(['run 1', 'run 2', 'closed'])
  })

  it('refuses later runs', async () => {
    const session = await open(identity)
    const closed = session.close()
    await expect(session.run(feeds(1, 3))).rejects.toMatchObject({ code: 'CLOSED' })
    await closed
    await expect(session.run(feeds(1, 3))).rejects.toMatchObject({ code: 'CLOSED' })
  })

  it('a second time joins the first', async () => {
    const session = await open(identity)
    const closed = session.close()
    expect(session.close()).toBe(closed)
    await closed
    expect(session.close()).toBe(closed)
  })

  it('ends the worker, and is no death', async () => {
    const [session, worker] = await openWithWorker(identity)
    const died = session.died.then(() => true)
    await session.close()
    expect(worker.threadId).toBe(-1)
    expect(await Promise.race([died, new Promise((resolve) => setImmediate(resolve, false))])).toBe(false)
  })
})

describe('loading', () => {
  it.each([
    { kind: 'a corrupt file', bytes: Uint8Array.from({ length: 64 }, (_, i) => i * 37) },
    { kind: 'a truncated file', bytes: mlp().subarray(0, 400) },
    { kind: 'an empty file', bytes: new Uint8Array() },
    { kind: 'a model with an int4 output, which would end the process', bytes: int4Output() },
    { kind: 'a model with a sequence output', bytes: sequenceOutput() },
    { kind: 'a ZipMap that can not be rewritten', bytes: zipMapModel({ alsoTakenBy: 'node' }) },
  ])('refuses $kind, by its path', async ({ kind, bytes }) => {
    const artifact = write(kind, bytes)
    await expect(openInThread(artifact)).rejects.toMatchObject({
      code: 'INVALID_MODEL',
      message: expect.stringContaining(artifact.path),
    })
  })

  it('refuses a file that is not there, by its path', async () => {
    const path = identity.path.replace('identity', 'missing')
    await expect(openInThread({ path, intraOpThreads: 1 })).rejects.toMatchObject({
      code: 'INVALID_MODEL',
      message: expect.stringContaining(path),
    })
  })

  it('leaves no worker behind where it fails', async () => {
    const started = once(process, 'worker') as Promise<[Worker]>
    const path = identity.path.replace('identity', 'missing')
    await expect(openInThread({ path, intraOpThreads: 1 })).rejects.toThrow(ServingError)
    const [worker] = await started
    expect(worker.threadId).toBe(-1)
  })

  it('takes the file as it is then: a later change does not matter', async () => {
    const artifact = write('overwritten', identityModel())
    const session = await open(artifact)
    writeFileSync(artifact.path, 'something else')
    expect(numbers((await session.run(feeds(1, 3))).outputs)).toHaveLength(3)
  })

  it("makes a tensor of scikit-learn's ZipMap and keeps its class names", async () => {
    const session = await open(write('zip-map', zipMapModel()))
    expect(session.signature.classes).toEqual({ probabilities: ['setosa', 'versicolor', 'virginica'] })
    const { outputs } = await session.run(feeds(2, 4))
    expect(outputs.probabilities).toMatchObject({ dtype: 'float32', shape: [2, 3] })
    const [a = 0, b = 0, c = 0] = numbers(outputs, 'probabilities').map(Number)
    expect(a + b + c).toBeCloseTo(1)
  })
})

describe('permits', () => {
  const permits = sharedPermits()

  it('are taken for a run and returned after it, as many as the run has threads', async () => {
    const session = await open({ ...busy, intraOpThreads: permits.total })
    const seen = new Set<number>()
    const timer = setInterval(() => seen.add(permits.available), 1)
    await session.run(feeds(1, 4))
    clearInterval(timer)
    expect(seen).toContain(0)
    expect(permits.available).toBe(permits.total)
  })

  it('hold back the runs beyond them', async () => {
    const session = await open(identity)
    permits.acquire(permits.total, thisThread)
    const run = session.run(feeds(1, 3)).then(() => 'done')
    expect(await Promise.race([run, open(identity).then(() => 'still waiting')])).toBe('still waiting')
    permits.release(permits.total)
    expect(await run).toBe('done')
  })
})

describe('a worker that ends on its own', () => {
  it('rejects what waits, tells of its death, and refuses what comes later', async () => {
    const permits = sharedPermits()
    const [session, worker] = await openWithWorker(identity)
    // Without permits the run waits in the worker, outside of native code, where it may be stopped.
    permits.acquire(permits.total, thisThread)
    const run = session.run(feeds(1, 3))
    await worker.terminate()
    permits.release(permits.total)

    const death = { code: 'WORKER_DIED', retryable: true }
    await expect(run).rejects.toMatchObject(death)
    expect(await session.died).toMatchObject(death)
    await expect(session.run(feeds(1, 3))).rejects.toMatchObject(death)
    await session.close()
    expect(permits.available).toBe(permits.total)

    const next = await open(identity)
    expect(numbers((await next.run(feeds(1, 3))).outputs)).toHaveLength(3)
  })

  it('rejects the loading', async () => {
    const started = once(process, 'worker') as Promise<[Worker]>
    const loading = openInThread(identity)
    const [worker] = await started
    await Promise.all([worker.terminate(), expect(loading).rejects.toMatchObject({ code: 'WORKER_DIED' })])
  })
})

describe('a run that takes longer than it may', () => {
  const permits = sharedPermits()

  it('is given up, returns its permits, and its thread ends once it can be stopped', async () => {
    const [session, worker] = await openWithWorker({ ...long, runTimeoutMs: 100 })
    const [run, next] = [session.run(feeds(1, 4)), session.run(feeds(1, 4))]
    const headers = { 'retry-after': '1' }
    await expect(run).rejects.toMatchObject({ code: 'RUN_TIMEOUT', retryable: true, headers })
    await expect(next).rejects.toMatchObject({ code: 'WORKER_DIED', retryable: true, headers })
    expect(await session.died).toMatchObject({
      code: 'WORKER_DIED',
      message: expect.stringMatching(/^a run took longer .* a thread can't be stopped/),
    })
    expect(permits.available).toBe(permits.total)

    const beside = await open(identity)
    expect(numbers((await beside.run(feeds(1, 3))).outputs)).toHaveLength(3)
    expect(worker.threadId).not.toBe(-1)
    await once(worker, 'exit')
    expect(permits.available).toBe(permits.total)
  })

  it('is no longer watched once it is answered', async () => {
    const session = await open({ ...identity, runTimeoutMs: 50 })
    await session.run(feeds(1, 3))
    await new Promise((resolve) => setTimeout(resolve, 100))
    expect(numbers((await session.run(feeds(1, 3))).outputs)).toHaveLength(3)
  })

  it('is not given up where its answer came while this thread was busy', async () => {
    const session = await open({ ...busy, runTimeoutMs: 900 })
    const run = session.run(feeds(1, 4))
    await new Promise((resolve) => setTimeout(resolve, 100))
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2000)
    expect(numbers((await run).outputs)).toHaveLength(4)
  })
})

describe('a shared worker', () => {
  const workers: Worker[] = []
  const collect = (worker: Worker) => workers.push(worker)
  beforeEach(() => {
    workers.length = 0
    process.on('worker', collect)
  })
  afterEach(() => process.off('worker', collect))

  const share = async (artifact: Artifact) => {
    const session = await openInThread(artifact, { isShared: true })
    opened.push(session)
    return session
  }

  it('is one thread for all its sessions, and ends with the last', async () => {
    const [a, b] = await Promise.all([share(identity), share(write('add', addInt64()))])
    expect(workers).toHaveLength(1)
    const one = { dtype: 'int64', shape: [1, 3], data: BigInt64Array.of(1n, 1n, 1n) } as const
    const [first, second] = await Promise.all([a.run(feeds(1, 3)), b.run({ x: one })])
    expect(numbers(second.outputs)).toEqual([2n, 3n, 4n])
    expect(numbers(first.outputs)).toHaveLength(3)

    await a.close()
    await expect(a.run(feeds(1, 3))).rejects.toMatchObject({ code: 'CLOSED' })
    await b.run({ x: { ...one, data: BigInt64Array.of(1n, 1n, 1n) } })
    expect(workers[0]?.threadId).not.toBe(-1)
    await b.close()
    expect(workers[0]?.threadId).toBe(-1)

    const later = await share(identity)
    expect(workers).toHaveLength(2)
    expect(numbers((await later.run(feeds(1, 3))).outputs)).toHaveLength(3)
  })

  it('is not the one of a session that has its own', async () => {
    await Promise.all([share(identity), open(identity)])
    expect(workers).toHaveLength(2)
  })

  it('outlives a model that it can not load', async () => {
    const session = await share(identity)
    await expect(share(write('empty', new Uint8Array()))).rejects.toMatchObject({ code: 'INVALID_MODEL' })
    expect(numbers((await session.run(feeds(1, 3))).outputs)).toHaveLength(3)
    expect(workers).toHaveLength(1)
  })

  it("says whose run took too long: not that of each model's", async () => {
    const [slow, other] = await Promise.all([share({ ...long, runTimeoutMs: 100 }), share(identity)])
    const [run, beside] = [slow.run(feeds(1, 4)), other.run(feeds(1, 3))]
    const headers = { 'retry-after': '1' }
    await Promise.all([
      expect(run).rejects.toMatchObject({ code: 'RUN_TIMEOUT', headers }),
      expect(beside).rejects.toMatchObject({
        code: 'WORKER_DIED',
        message: expect.stringMatching(
          /^a run of one of the models in the shared worker took longer than 100 ms/,
        ),
        headers,
      }),
    ])
    // Once it can be stopped.
    await once(workers[0] as Worker, 'exit')
  })

  it('takes all its sessions along when it dies, and is followed by another', async () => {
    const sessions = await Promise.all([share(identity), share(identity)])
    await workers[0]?.terminate()
    for (const { died } of sessions) expect(await died).toMatchObject({ code: 'WORKER_DIED' })
    const next = await share(identity)
    expect(numbers((await next.run(feeds(1, 3))).outputs)).toHaveLength(3)
    expect(workers).toHaveLength(2)
  })
})
