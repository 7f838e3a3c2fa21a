import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it, vi } from 'vitest'
import { ModelManager } from '../../src/models/manager.js'
import { isRunning, lastPid } from '../execution/child-processes.js'
import { temporaryFolder } from '../execution/support.js'
import { ManualClock } from '../manual-clock.js'
import { identityModel } from '../onnx/models.js'
import { quietLogger } from './quiet-logger.js'
import { temporaryRepository } from './temporary-repository.js'

const fake = vi.hoisted(() => ({ path: '' }))
vi.mock('../../src/execution/runtime.js', () => ({ findRuntime: () => fake.path }))

/**
 * Stands in for onnxruntime-node: a load hangs, but for the first where a file is to be left behind; a run ends its
 * process.
 */
function runtime(firstLoads: boolean): string {
  const folder = temporaryFolder()
  const path = join(folder, 'runtime.cjs')
  writeFileSync(
    path,
    `const { existsSync, writeFileSync } = require('node:fs')
    const metadata = [{ name: 'x', isTensor: true, type: 'float32', shape: ['batch', 3] }]
    const session = {
      inputMetadata: metadata, outputMetadata: metadata, release: async () => {}, run: async () => process.exit(3),
    }
    const mark = ${JSON.stringify(join(folder, 'loaded'))}
    const loads = ${firstLoads} && !existsSync(mark)
    exports.InferenceSession = {
      create: () => { writeFileSync(mark, ''); return loads ? session : new Promise(() => setInterval(() => {}, 1000)) },
    }`,
  )
  return path
}

function setUp(firstLoads: boolean) {
  fake.path = runtime(firstLoads)
  const clock = new ManualClock()
  const manager = new ModelManager({ logger: quietLogger(), clock, drainTimeoutMs: 300 })
  const source = `${temporaryRepository({ 'm/1/model.onnx': identityModel() })}/m`
  const options = { placement: 'process', batching: false } as const
  manager.start(undefined, new Map([['m', { kind: 'onnx', source, options }]]))
  const close = async () => {
    const closed = manager.close()
    for (let i = 0; i < 5; i++) await new Promise(setImmediate)
    clock.advance(300)
    await closed
  }
  return { manager, close }
}

it('a process that hangs in its load is killed when the time of a close is over', async () => {
  const { manager, close } = setUp(false)
  const loading = manager.load('m', '1').catch((error: unknown) => error)
  await expect.poll(() => manager.get('m').versions[0]?.state).toBe('loading')
  await expect.poll(lastPid).toBeGreaterThan(0)
  const pid = lastPid()
  expect(isRunning(pid)).toBe(true)
  await close()
  await expect.poll(() => isRunning(pid)).toBe(false)
  expect(await loading).toMatchObject({ code: 'CLOSED' })
})

it('a process that hangs in its load as the successor of one that died is killed as well', async () => {
  const { manager, close } = setUp(true)
  await manager.load('m', '1')
  const pid = lastPid()
  const lease = await manager.lease('m')
  const encoded = await lease.codec.encode({ x: [0, 0, 0] })
  await expect(lease.batcher.submit(encoded.feeds)).rejects.toMatchObject({ code: 'WORKER_DIED' })
  lease.release()
  await expect.poll(lastPid).not.toBe(pid)
  const successor = lastPid()
  await close()
  await expect.poll(() => isRunning(successor)).toBe(false)
})
