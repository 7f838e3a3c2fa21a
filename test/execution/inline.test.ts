import { afterEach, describe, expect, it } from 'vitest'
import { InlineSession } from '../../src/execution/inline.js'
import type { Artifact } from '../../src/execution/session.js'
import { openInThread } from '../../src/execution/thread.js'
import { addInt64, identityModel, int4Output, loopModel, mlp } from '../onnx/models.js'
import { feeds, modelFolder, numbers, turnsDuring } from './support.js'

const write = modelFolder()
const identity = write('identity', identityModel())

const opened: InlineSession[] = []
afterEach(async () => {
  await Promise.all(opened.splice(0).map((session) => session.close()))
})

async function open(artifact: Artifact): Promise<InlineSession> {
  const session = await InlineSession.create(artifact)
  opened.push(session)
  return session
}

describe('a session inline', () => {
  it('answers as one in a thread does', async () => {
    const artifact = write('mlp', mlp())
    const [inline, thread] = [await open(artifact), await openInThread(artifact)]
    expect(inline.signature).toEqual(thread.signature)
    const { outputs } = await inline.run(feeds(5, 64))
    expect((await thread.run(feeds(5, 64))).outputs).toEqual(outputs)
    await thread.close()
  })

  it('answers each of many runs with its own rows', async () => {
    const session = await open(write('add', addInt64()))
    const runs = Array.from({ length: 50 }, async (_, i) => {
      const data = BigInt64Array.of(BigInt(i), 0n, 0n)
      return numbers((await session.run({ x: { dtype: 'int64', shape: [1, 3], data } })).outputs)
    })
    expect(await Promise.all(runs)).toEqual(runs.map((_, i) => [BigInt(i + 1), 2n, 3n]))
  })

  it('blocks the event loop while it runs, which is why it is not the default', async () => {
    const session = await open(write('busy', loopModel({ ms: 200 })))
    expect(await turnsDuring(session.run(feeds(1, 4)))).toBeLessThan(10)
  })

  it('rejects a run that fails with the reason, and goes on', async () => {
    const session = await open(identity)
    await expect(session.run(feeds(1, 4))).rejects.toMatchObject({
      code: 'INFERENCE_FAILED',
      message: expect.stringContaining('dimension'),
    })
    expect(numbers((await session.run(feeds(1, 3))).outputs)).toHaveLength(3)
  })

  it('refuses what it can not serve, by its path', async () => {
    const artifact = write('int4', int4Output())
    await expect(InlineSession.create(artifact)).rejects.toMatchObject({
      code: 'INVALID_MODEL',
      message: expect.stringContaining(artifact.path),
    })
  })
})

describe('closing', () => {
  it('waits for the runs that were handed over, also where the last of them fails at once', async () => {
    const session = await open(identity)
    const run = session.run(feeds(1, 3))
    const failing = session.run({})
    const closed = session.close()
    await expect(failing).rejects.toMatchObject({ code: 'INFERENCE_FAILED' })
    expect(numbers((await run).outputs)).toHaveLength(3)
    await closed
  })

  it('refuses later runs', async () => {
    const session = await open(identity)
    const closed = session.close()
    await expect(session.run(feeds(1, 3))).rejects.toMatchObject({ code: 'CLOSED' })
    await closed
  })

  it('a second time joins the first', async () => {
    const session = await open(identity)
    expect(session.close()).toBe(session.close())
  })
})
