import { truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { AutoSession } from '../../src/execution/auto.js'
import { inspectedBytes } from '../../src/execution/inspection.js'
import { InlineSession } from '../../src/execution/inline.js'
import { Instances } from '../../src/execution/instances.js'
import { inlineLayout, layoutOf, type LearnedLayout } from '../../src/execution/layout.js'
import { ModelFile } from '../../src/execution/model-file.js'
import { openSession, type OpenOptions } from '../../src/execution/open-session.js'
import { coreCount, sharedPermits } from '../../src/execution/permits.js'
import type { Session } from '../../src/execution/session.js'
import { addExternal, addInt64, identityModel, loopModel } from '../onnx/models.js'
import { bundle, run } from './program.js'
import { feeds, modelFolder, numbers, temporaryFolder } from './support.js'

const write = modelFolder()
const { path } = write('identity', identityModel())
const { path: endless } = write('endless', loopModel({ ms: 600_000 }))

const opened: Session[] = []
afterEach(async () => {
  await Promise.all(opened.splice(0).map((session) => session.close()))
  sharedPermits().resize(coreCount())
})

/** What is learnt of an artifact, under its name. */
async function known(file: string, layout: LearnedLayout): Promise<ReadonlyMap<string, LearnedLayout>> {
  const sha256 = await (await ModelFile.read(file, inspectedBytes)).sha256()
  return new Map([[sha256 ?? '', layout]])
}

async function open(options: Omit<OpenOptions, 'path'> & { path?: string } = {}): Promise<Session> {
  const session = await openSession({ path, ...options })
  opened.push(session)
  return session
}

describe('openSession', () => {
  it.each([
    { options: {}, kind: AutoSession, placement: 'thread' },
    { options: { placement: 'auto' }, kind: AutoSession, placement: 'thread' },
    { options: { placement: 'thread' }, kind: Instances, placement: 'thread' },
    { options: { placement: 'inline' }, kind: InlineSession, placement: 'inline' },
    { options: { placement: 'process' }, kind: Instances, placement: 'process' },
    { options: { instances: 2 }, kind: Instances, placement: 'thread' },
    { options: { instances: 2, placement: 'process' }, kind: Instances, placement: 'process' },
    { options: { runTimeoutMs: 60_000 }, kind: AutoSession, placement: 'thread' },
    { options: { worker: 'shared', placement: 'thread' }, kind: Instances, placement: 'thread' },
    { options: { providers: ['cpu'] }, kind: AutoSession, placement: 'thread' },
    { options: { providers: ['cuda', 'cpu'] }, kind: Instances, placement: 'thread' },
  ] as const)('makes of $options what they say', async ({ options, kind, placement }) => {
    const session = await open(options)
    expect(session).toBeInstanceOf(kind)
    expect(session.placement).toBe(placement)
    expect(session.providers).toEqual(['cpu'])
    expect(numbers((await session.run(feeds(1, 3))).outputs)).toHaveLength(3)
  })

  it('leaves no run of a process without an answer that dies while it is closed', async () => {
    const session = await open({ path: endless, placement: 'process', runTimeoutMs: 300 })
    const runs = [session.run(feeds(1, 4)), session.run(feeds(1, 4))]
    const closed = session.close()
    await expect(runs[0]).rejects.toMatchObject({ code: 'RUN_TIMEOUT' })
    await expect(runs[1]).rejects.toMatchObject({ code: 'WORKER_DIED' })
    await closed
  })

  it('keeps a model in threads whose numbers are large, in whatever file', async () => {
    const folder = temporaryFolder()
    const model = join(folder, 'model.onnx')
    const learned = { cores: coreCount(), layout: inlineLayout, measured: [] }
    writeFileSync(model, addExternal('w.bin'))
    writeFileSync(join(folder, 'w.bin'), new Uint8Array(12))
    const openAgain = async () => open({ path: model, learned: await known(model, learned) })
    expect((await openAgain()).placement).toBe('inline')
    writeFileSync(join(folder, 'w.bin'), new Uint8Array(8 * 1024 * 1024))
    expect((await openAgain()).placement).toBe('thread')
  })

  /** What it begins with where a session a core was learnt. */
  const learned: LearnedLayout = {
    cores: coreCount(),
    layout: { placement: 'thread', instances: coreCount(), intraOpThreads: 1 },
    measured: [],
  }

  it('begins with what was learnt of the artifact', async () => {
    const session = await open({ learned: await known(path, learned) })
    expect(layoutOf(session)).toEqual(learned.layout)
    expect(numbers((await session.run(feeds(1, 3))).outputs)).toHaveLength(3)
  })

  it('begins anew where something was learnt of other artifacts alone', async () => {
    const other = modelFolder()('other', addInt64())
    expect((await open({ learned: await known(other.path, learned) })).instances ?? 1).toBe(1)
  })

  it.each([
    { options: { instances: 1 } },
    { options: { intraOpThreads: 2 } },
    { options: { placement: 'thread' } },
    { options: { providers: ['cuda', 'cpu'] } },
  ] as const)('keeps one session where that is asked for: $options', async ({ options }) => {
    expect((await open({ learned: await known(path, learned), ...options })).instances ?? 1).toBe(1)
  })

  it('keeps one session of a model that is too large for several', async () => {
    const model = join(temporaryFolder(), 'model.onnx')
    writeFileSync(model, addExternal('w.bin'))
    const data = join(model, '../w.bin')
    writeFileSync(data, new Uint8Array(12))
    truncateSync(data, Math.floor((1024 * 1024 * 1024) / coreCount()) + 1) // a hole, which takes no room
    expect((await open({ path: model, learned: await known(model, learned) })).instances ?? 1).toBe(1)
  })

  it('leaves a model in its thread whose runs take a millisecond', async () => {
    const session = await open({ path: modelFolder()('busy', loopModel({ ms: 1 })).path })
    for (let i = 0; i < 200; i++) await session.run(feeds(1, 4))
    expect(session.placement).toBe('thread')
  })

  it.each([
    { where: 'on the main thread', how: 'require(file)', moves: true },
    {
      where: 'in a context of its own, as tests of Jest are',
      how: `require('node:vm').runInNewContext(source, { require, module: {}, exports: {}, process, console, performance,
        setImmediate, setTimeout, clearTimeout, __filename: file, SharedArrayBuffer, Error, Buffer })`,
      moves: false,
    },
    {
      where: 'in a worker',
      how: `new (require('node:worker_threads').Worker)(file, { argv: process.argv.slice(2) })`,
      moves: false,
    },
  ])('may move a session inline $where: $moves', async ({ how, moves }) => {
    const program = `
      const file = ${JSON.stringify(await bundle('auto-placement', temporaryFolder()))}
      const source = require('node:fs').readFileSync(file, 'utf8')
      process.argv[2] = ${JSON.stringify(path)}
      ${how}
    `
    const { stdout, stderr } = await run('--eval', [program])
    expect({ stdout, stderr }).toEqual({ stdout: `${moves}\n`, stderr: '' })
  })

  it.each([
    { options: { placement: 'inline', instances: 2 }, says: '2 instances inline' },
    { options: { placement: 'inline', runTimeoutMs: 100 }, says: 'leave out runTimeoutMs' },
    { options: { placement: 'inline', intraOpThreads: 2 }, says: 'leave out intraOpThreads' },
    { options: { placement: 'inline', retries: 1 }, says: 'leave out retries' },
    { options: { placement: 'inline', worker: 'shared' }, says: 'a shared worker is a thread' },
    { options: { placement: 'process', worker: 'shared' }, says: 'a shared worker is a thread' },
    { options: { worker: 'shared', instances: 3 }, says: '3 instances in one shared worker' },
  ] as const)('refuses what does not go together: $options', async ({ options, says }) => {
    await expect(openSession({ path, ...options })).rejects.toMatchObject({
      code: 'INVALID_OPTIONS',
      message: expect.stringContaining(says),
    })
  })

  it('refuses a file that is not there, by its path', async () => {
    await expect(openSession({ path: '/none.onnx' })).rejects.toMatchObject({
      code: 'INVALID_MODEL',
      message: expect.stringContaining('/none.onnx'),
    })
  })
})

describe('the threads of a run', () => {
  const cores = coreCount()

  it.each([
    { options: {}, width: cores },
    { options: { intraOpThreads: 1 }, width: 1 },
    { options: { intraOpThreads: 1000 }, width: cores },
    { options: { instances: 2 }, width: Math.max(1, Math.floor(cores / 2)) },
    { options: { instances: cores + 1 }, width: 1 },
    { options: { instances: 2, intraOpThreads: cores }, width: cores },
    { options: { placement: 'inline', intraOpThreads: 1 }, width: 0 },
  ] as const)('are $width for $options', async ({ options, width }) => {
    expect((await open(options)).width).toBe(width)
  })

  it('are no more than the permits that the host allows', async () => {
    sharedPermits().resize(1)
    expect((await open()).width).toBe(1)
  })

  it('take no more permits than there are once the host allows fewer', async () => {
    const session = await open()
    sharedPermits().resize(1)
    await session.run(feeds(1, 3))
    expect(sharedPermits()).toMatchObject({ total: 1, available: 1 })
  })
})
