import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it, onTestFinished, vi } from 'vitest'
import { ModelManager } from '../../src/models/manager.js'
import { temporaryFolder } from '../execution/support.js'
import { ManualClock } from '../manual-clock.js'
import { identityModel, mlp } from '../onnx/models.js'
import { quietLogger } from './quiet-logger.js'
import { temporaryRepository, writeInto } from './temporary-repository.js'

const fake = vi.hoisted(() => ({ path: '' }))
vi.mock('../../src/execution/runtime.js', () => ({ findRuntime: () => fake.path }))

/** Stands in for onnxruntime-node, whose own defects can't be called up at will: dies of a row that begins with 666. */
fake.path = join(temporaryFolder(), 'runtime.cjs')
writeFileSync(
  fake.path,
  `const metadata = [{ name: 'x', isTensor: true, type: 'float32', shape: ['batch', 3] }]
  const run = async ({ x }) => x.data[0] === 666 ? new Promise(() => { setImmediate(() => process.exit(3)) }) : { x }
  exports.InferenceSession = {
    create: async () => ({ inputMetadata: metadata, outputMetadata: metadata, release: async () => {}, run }),
  }`,
)

async function setUp() {
  const clock = new ManualClock()
  const manager = new ModelManager({ logger: quietLogger(), clock })
  onTestFinished(() => manager.close())
  const root = temporaryRepository({ 'm/1/model.onnx': identityModel(), 'm/2/model.onnx': identityModel() })
  manager.start(root, new Map())
  await manager.load('m', '1')
  const ask = async (first: number, version?: string) => {
    const lease = await manager.lease('m', version)
    try {
      const encoded = await lease.codec.encode({ x: [first, 0, 0] })
      return (await lease.batcher.submit(encoded.feeds)).result
    } finally {
      lease.release()
    }
  }
  return {
    clock,
    manager,
    root,
    ask,
    status: (version: string) => [...manager.status()].find((status) => status.version === version),
    state: (version: string) => manager.get('m').versions.find((v) => v.version === version)?.state,
  }
}

it.each(['2', '1'])(
  'version %s, of which 2 is current, is back at once when its worker dies, and answers what waited',
  async (version) => {
    const { manager, ask, state, status } = await setUp()
    const [died, handedOver, waited] = await Promise.allSettled(
      [666, 1, 2].map((first) => ask(first, version)),
    )
    // The second had left for the thread already, and its arrays with it.
    for (const lost of [died, handedOver]) {
      expect(lost).toMatchObject({ status: 'rejected', reason: { code: 'WORKER_DIED', retryable: true } })
    }
    expect(waited).toMatchObject({ status: 'fulfilled', value: { x: { data: Float32Array.of(2, 0, 0) } } })
    expect(status(version)).toMatchObject({ state: 'ready', deaths: 1 })
    expect(state(version === '1' ? '2' : '1')).toBe('ready')
    expect(manager.get('m').current).toBe('2')
    expect(manager.get('m').versions.every(({ reason }) => reason === undefined)).toBe(true)
  },
)

it.each(['2', '1'])(
  'version %s, that dies again within a minute, is refused until its wait is over',
  async (version) => {
    const { clock, manager, ask, state, status } = await setUp()
    await expect(ask(666, version)).rejects.toMatchObject({ code: 'WORKER_DIED' })
    clock.advance(59_000)
    const [died, , waited] = await Promise.allSettled([666, 1, 2].map((first) => ask(first, version)))
    expect(died).toMatchObject({ reason: { code: 'WORKER_DIED' } })
    const refused = { code: 'MODEL_NOT_READY', retryable: true, headers: { 'retry-after': '1' } }
    expect(waited).toMatchObject({ reason: refused })
    await expect(ask(1, version)).rejects.toMatchObject(refused)
    expect(status(version)).toMatchObject({ state: 'failed', deaths: 2 })
    expect(manager.get('m').versions.find((v) => v.version === version)?.reason).toContain(
      'ended with code 3',
    )

    clock.advance(500)
    await expect.poll(() => state(version)).toBe('ready')
    expect(await ask(5, version)).toMatchObject({ x: { data: Float32Array.of(5, 0, 0) } })
  },
)

it.each(['1', '2'])('version %s, that dies again and again, waits longer each time', async (version) => {
  const { clock, ask, state } = await setUp()
  await expect(ask(666, version)).rejects.toMatchObject({ code: 'WORKER_DIED' })
  for (const waitMs of [500, 1000, 2000]) {
    await expect(ask(666, version)).rejects.toMatchObject({ code: 'WORKER_DIED' })
    clock.advance(waitMs - 1)
    await new Promise(setImmediate)
    expect(state(version)).toBe('failed')
    clock.advance(1)
    await expect.poll(() => state(version)).toBe('ready')
  }
  clock.advance(60_000)
  await expect(ask(666, version)).rejects.toMatchObject({ code: 'WORKER_DIED' })
  await ask(1, version)
  await expect(ask(666, version)).rejects.toMatchObject({ code: 'WORKER_DIED' })
  clock.advance(500)
  await expect.poll(() => state(version)).toBe('ready')
})

it('while a canary whose worker died twice waits to be loaded again, the current version answers its share', async () => {
  const { clock, manager, ask, state } = await setUp()
  await manager.canary('m', { version: '1', percent: 100 })
  const answering = async (options: { readonly key?: string } = {}) => {
    const lease = await manager.lease('m', undefined, {}, false, options.key)
    lease.release()
    return lease.version
  }
  expect(await answering()).toBe('1')
  for (let death = 0; death < 2; death++) {
    await expect(ask(666)).rejects.toMatchObject({ code: 'WORKER_DIED' })
  }
  expect(state('1')).toBe('failed')
  expect(await answering()).toBe('2')
  expect(await answering({ key: 'user' })).toBe('2')

  clock.advance(500)
  await expect.poll(() => state('1')).toBe('ready')
  expect(await answering()).toBe('1')
})

it('a lazy model whose worker died twice is loaded again by a request that comes after the wait', async () => {
  const clock = new ManualClock()
  const manager = new ModelManager({ logger: quietLogger(), clock })
  onTestFinished(() => manager.close())
  const source = `${temporaryRepository({ 'm/1/model.onnx': identityModel() })}/m`
  manager.start(undefined, new Map([['m', { kind: 'onnx', source, options: { lazy: true } }]]))
  const ask = async (first: number) => {
    const lease = await manager.lease('m')
    try {
      return await lease.batcher.submit((await lease.codec.encode({ x: [first, 0, 0] })).feeds)
    } finally {
      lease.release()
    }
  }
  await ask(1)
  await expect(ask(666)).rejects.toMatchObject({ code: 'WORKER_DIED' })
  await ask(1)
  await expect(ask(666)).rejects.toMatchObject({ code: 'WORKER_DIED' })
  await expect(ask(1)).rejects.toMatchObject({ code: 'MODEL_NOT_READY' })
  clock.advance(500)
  await ask(1)
})

it('a version that died is not loaded again once it was unloaded', async () => {
  const { clock, manager, ask, state } = await setUp()
  for (let i = 0; i < 2; i++) await expect(ask(666, '1')).rejects.toMatchObject({ code: 'WORKER_DIED' })
  await manager.unload('m', '1')
  clock.advance(60_000)
  await new Promise(setImmediate)
  expect(state('1')).toBe('unloaded')
})

const rollout = { version: '1', steps: [50], minRequests: 10_000, minStepMs: 0 }

it('a rollout of a version whose worker died twice goes back', async () => {
  const { manager, ask } = await setUp()
  await manager.startRollout('m', rollout)
  await expect(ask(666, '1')).rejects.toMatchObject({ code: 'WORKER_DIED' })
  expect(manager.rolloutOf('m')).toMatchObject({ phase: 'running' })
  await expect(ask(666, '1')).rejects.toMatchObject({ code: 'WORKER_DIED' })
  expect(manager.rolloutOf('m')).toMatchObject({
    phase: 'rolled-back',
    reason: expect.stringContaining('can no longer serve') as string,
  })
  await expect.poll(() => manager.get('m').canary).toBeUndefined()
  const quarantined = () => manager.get('m').versions.find(({ version }) => version === '1')?.quarantined
  await expect.poll(quarantined).toContain('ended with code 3')
})

it('a rollout beside a stable version whose worker died twice pauses until that is back', async () => {
  const { clock, manager, ask, state } = await setUp()
  await manager.startRollout('m', rollout)
  for (let i = 0; i < 2; i++) await expect(ask(666, '2')).rejects.toMatchObject({ code: 'WORKER_DIED' })
  expect(manager.rolloutOf('m')).toMatchObject({
    phase: 'paused',
    reason: expect.stringContaining("the stable version can't serve") as string,
  })
  clock.advance(500)
  await expect.poll(() => state('2')).toBe('ready')
  await expect.poll(() => manager.rolloutOf('m')?.phase).toBe('running')
})

it('a version whose worker died twice is not loaded again from other files under its name', async () => {
  const { clock, manager, ask, state, root } = await setUp()
  for (const _ of [1, 2]) await expect(ask(666, '1')).rejects.toMatchObject({ code: 'WORKER_DIED' })
  expect(state('1')).toBe('failed')
  writeInto(root, 'm/1/model.onnx', mlp())
  await expect(manager.load('m', '1')).rejects.toThrow('has changed since it was loaded')
  clock.advance(60_000)
  expect(state('1')).toBe('failed')
  writeInto(root, 'm/1/model.onnx', identityModel())
  await manager.load('m', '1')
  expect(await ask(1, '1')).toMatchObject({ x: { data: Float32Array.of(1, 0, 0) } })
})
