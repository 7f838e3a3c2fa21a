import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it, vi } from 'vitest'
import { sharedPermits } from '../../src/execution/permits.js'
import { openInThread } from '../../src/execution/thread.js'
import { identityModel } from '../onnx/models.js'
import { feeds, modelFolder, temporaryFolder } from './support.js'

const folder = temporaryFolder()
const fake = vi.hoisted(() => ({ path: '' }))
vi.mock('../../src/execution/runtime.js', () => ({ findRuntime: () => fake.path }))

/** Stands in for onnxruntime-node, whose own defects can't be called up at will. */
function installRuntime(name: string, members: string): void {
  fake.path = join(folder, `${name}.cjs`)
  writeFileSync(
    fake.path,
    `const metadata = [{ name: 'x', isTensor: true, type: 'float32', shape: ['batch', 3] }]
    const session = { inputMetadata: metadata, outputMetadata: metadata, release: async () => {} }
    exports.InferenceSession = { create: async () => session }
    ${members}`,
  )
}

const artifact = modelFolder()('any', identityModel())
const permits = sharedPermits()

it.each([
  {
    how: 'an exception that nobody catches',
    run: `setImmediate(() => { throw new Error('lost') })`,
    says: 'lost',
  },
  { how: 'process.exit', run: 'setImmediate(() => process.exit(3))', says: 'ended with code 3' },
])(
  'a worker that dies of $how in a run leaves neither requests nor permits behind',
  async ({ how, run, says }) => {
    installRuntime(how, `session.run = () => new Promise(() => { ${run} })`)
    const session = await openInThread(artifact)
    const runs = [session.run(feeds(1, 3)), session.run(feeds(1, 3))]

    const death = { code: 'WORKER_DIED', message: expect.stringContaining(says) }
    for (const pending of runs) await expect(pending).rejects.toMatchObject(death)
    expect(await session.died).toMatchObject(death)
    await expect(session.run(feeds(1, 3))).rejects.toMatchObject(death)
    expect(permits.available).toBe(permits.total)
    await session.close()
  },
)

it('a death while it loads is told to who loads', async () => {
  installRuntime(
    'loading',
    `exports.InferenceSession.create = () => new Promise(() => { setImmediate(() => process.exit(4)) })`,
  )
  await expect(openInThread(artifact)).rejects.toMatchObject({ code: 'WORKER_DIED' })
  expect(permits.available).toBe(permits.total)
})

it('a death before the close lets the close end', async () => {
  installRuntime(
    'closing',
    `session.release = () => new Promise(() => { setImmediate(() => process.exit(5)) })`,
  )
  const session = await openInThread(artifact)
  await session.close()
  await expect(session.run(feeds(1, 3))).rejects.toMatchObject({ code: 'CLOSED' })
})
