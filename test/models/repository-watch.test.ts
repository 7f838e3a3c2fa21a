import { cpSync, mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { appendFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { createServing, onnx, ServingError, type ModelChange } from 'mlserving'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import type { TimerOptions } from '../../src/clock.js'
import { ModelManager } from '../../src/models/manager.js'
import type { ModelManagerOptions } from '../../src/models/manager-options.js'
import type { ModelDefinition } from '../../src/models/model-definition.js'
import { ManualClock } from '../manual-clock.js'
import { mlp } from '../onnx/models.js'
import { quietLogger } from './quiet-logger.js'
import { temporaryRepository, writeInto } from './temporary-repository.js'

const intervalMs = 1234
const stableMs = 10_000

/** A clock that knows when a look at the folders has ended: the next one is then set. */
class WatchClock extends ManualClock {
  looks = 0
  #isLooking = true

  override setTimer(callback: () => void, delayMs: number, options?: TimerOptions) {
    if (delayMs !== intervalMs) return super.setTimer(callback, delayMs)
    expect(options).toEqual({ background: true })
    this.#isLooking = false
    return super.setTimer(() => {
      this.#isLooking = true
      this.looks++
      callback()
    }, delayMs)
  }

  /** Has one look taken. */
  async look(): Promise<void> {
    await this.#hasLooked()
    this.advance(intervalMs)
    await this.#hasLooked()
  }

  async #hasLooked(): Promise<void> {
    while (this.#isLooking) await setImmediate()
  }

  /** Has looks taken until nothing that lies there is new. */
  async settle(): Promise<void> {
    for (let ms = 0; ms < stableMs + 2 * intervalMs; ms += intervalMs) await this.look()
  }
}

interface Options extends ModelManagerOptions {
  readonly completeMarker?: string
  readonly definitions?: ReadonlyMap<string, ModelDefinition>
}

/** A manager that watches a repository, once its first versions have been there for long enough. */
async function watching(
  repository: string,
  { completeMarker, definitions = new Map(), ...options }: Options = {},
) {
  const clock = new WatchClock()
  const logger = quietLogger()
  const manager = new ModelManager({
    logger,
    clock,
    watch: { intervalMs, stableMs, ...(completeMarker !== undefined && { completeMarker }) },
    ...options,
  })
  onTestFinished(() => manager.close())
  manager.start(repository, definitions)
  const start = { isOver: false }
  void manager
    .ready()
    .catch(() => {})
    .then(() => (start.isOver = true))
  while (!start.isOver) {
    clock.advance(100)
    await setImmediate()
  }
  return { manager, clock, logger }
}

const states = (manager: ModelManager, model = 'm') =>
  Object.fromEntries(manager.get(model).versions.map(({ version, state }) => [version, state]))

const current = (manager: ModelManager, model = 'm') => manager.get(model).current

describe('a version that comes', () => {
  it('is taken once it has come to rest, and serves', async () => {
    const root = temporaryRepository({ 'm/1/model.onnx': mlp() })
    const { manager, clock } = await watching(root)
    writeInto(root, 'm/2/model.onnx', mlp())
    await clock.look()
    expect(states(manager)).toEqual({ 1: 'ready' })
    await clock.settle()
    await vi.waitFor(() => expect(current(manager)).toBe('2'))
    expect(states(manager)).toEqual({ 1: 'ready', 2: 'ready' })
  })

  it('is left alone for as long as it is copied, piece by piece', async () => {
    const root = temporaryRepository({ 'm/1/model.onnx': mlp() })
    const failed: string[] = []
    const { manager, clock } = await watching(root, { onLoadFailed: (_, version) => failed.push(version) })
    const bytes = mlp()
    mkdirSync(join(root, 'm/2'))
    for (let at = 0; at < bytes.length; at += Math.ceil(bytes.length / 12)) {
      await appendFile(join(root, 'm/2/model.onnx'), bytes.subarray(at, at + Math.ceil(bytes.length / 12)))
      for (let i = 0; i < 7; i++) await clock.look()
      expect(states(manager)).toEqual({ 1: 'ready' })
    }
    await clock.settle()
    await vi.waitFor(() => expect(current(manager)).toBe('2'))
    expect(failed).toEqual([])
  })

  it('is taken at once with its marker, and never without', async () => {
    const root = temporaryRepository({ 'm/1/model.onnx': mlp(), 'm/1/.complete': '' })
    const { manager, clock } = await watching(root, { completeMarker: '.complete' })
    writeInto(root, 'm/2/model.onnx', mlp())
    await clock.settle()
    expect(states(manager)).toEqual({ 1: 'ready' })
    writeInto(root, 'm/2/.complete', '')
    await clock.look()
    await vi.waitFor(() => expect(current(manager)).toBe('2'))
  })

  it.each(['.2', '2.tmp', '2.partial', '2~', 'lost+found'])(
    'is passed over as %s, and taken when renamed',
    async (name) => {
      const root = temporaryRepository({ 'm/1/model.onnx': mlp(), [`m/${name}/model.onnx`]: mlp() })
      const { manager, clock } = await watching(root)
      await clock.settle()
      expect(states(manager)).toEqual({ 1: 'ready' })
      renameSync(join(root, 'm', name), join(root, 'm/2'))
      await clock.settle()
      await vi.waitFor(() => expect(current(manager)).toBe('2'))
    },
  )

  it.each([
    ['load', { 1: 'ready', 2: 'ready' }],
    ['ignore', { 1: 'ready', 2: 'registered' }],
  ] as const)('does not serve where onNewVersion is "%s"', async (onNewVersion, expected) => {
    const root = temporaryRepository({ 'm/1/model.onnx': mlp(), 'm/model.json': { onNewVersion } })
    const { manager, clock } = await watching(root)
    writeInto(root, 'm/2/model.onnx', mlp())
    await clock.settle()
    await vi.waitFor(() => expect(states(manager)).toEqual(expected))
    expect(current(manager)).toBe('1')
  })

  it('is known and no more where model.json names the current one', async () => {
    const root = temporaryRepository({ 'm/1/model.onnx': mlp(), 'm/model.json': { current: '1' } })
    const { manager, clock } = await watching(root)
    writeInto(root, 'm/2/model.onnx', mlp())
    await clock.settle()
    await vi.waitFor(() => expect(states(manager)).toEqual({ 1: 'ready', 2: 'registered' }))
  })

  it('is not the one that was rolled back', async () => {
    const root = temporaryRepository({ 'm/1/model.onnx': mlp(), 'm/2/model.onnx': mlp() })
    const { manager, clock } = await watching(root)
    await manager.switchVersion('m', '1')
    await manager.unload('m', '2')
    rmSync(join(root, 'm/2'), { recursive: true })
    await clock.settle()
    await vi.waitFor(() => expect(states(manager)).toEqual({ 1: 'ready' }))
    await clock.settle()
    expect(current(manager)).toBe('1')
  })

  it('of a lazy model that was never asked is loaded by its first request', async () => {
    const root = temporaryRepository({ 'm/1/model.onnx': mlp(), 'm/model.json': { lazy: true } })
    const { manager, clock } = await watching(root)
    writeInto(root, 'm/2/model.onnx', mlp())
    await clock.settle()
    await vi.waitFor(() => expect(states(manager)).toEqual({ 1: 'registered', 2: 'registered' }))
    const lease = await manager.lease('m')
    expect(lease.version).toBe('2')
    lease.release()
  })

  it('comes to a model of code as well, from its own folder', async () => {
    const root = temporaryRepository({ 'own/1/model.onnx': mlp(), 'repository/n/1/model.onnx': mlp() })
    const definitions = new Map<string, ModelDefinition>([
      ['m', { kind: 'onnx', source: join(root, 'own'), options: {} }],
    ])
    const { manager, clock } = await watching(join(root, 'repository'), { definitions })
    writeInto(root, 'own/2/model.onnx', mlp())
    await clock.settle()
    await vi.waitFor(() => expect(current(manager)).toBe('2'))
  })
})

it('a version with a link that leads nowhere is taken as others are', async () => {
  const root = temporaryRepository({ 'm/1/model.onnx': mlp() })
  const { manager, clock } = await watching(root)
  writeInto(root, 'm/2/model.onnx', mlp())
  symlinkSync('ann@host.1234', join(root, 'm/2/.#model.onnx'))
  await clock.settle()
  await vi.waitFor(() => expect(current(manager)).toBe('2'))
})

it('a version that comes to serve is a change as others are, and so is one that fails to', async () => {
  const root = temporaryRepository({ 'm/1/model.onnx': mlp() })
  const { manager, clock } = await watching(root)
  const changes: ModelChange[] = []
  manager.onChange((change) => changes.push(change))
  writeInto(root, 'm/2/model.onnx', mlp())
  await clock.settle()
  await vi.waitFor(() => expect(current(manager)).toBe('2'))
  writeInto(root, 'm/3/model.onnx', 'no model')
  await clock.settle()
  await vi.waitFor(() => expect(states(manager)).toMatchObject({ 3: 'failed' }))
  expect(changes).toMatchObject([
    { actor: 'repository', action: 'switch', from: '1', to: '2', result: 'success' },
    { actor: 'repository', action: 'switch', from: '2', to: '3', result: 'failed' },
  ])
})

it('a version that comes to serve ends a rollout that compared with the one before', async () => {
  const root = temporaryRepository({ 'm/1/model.onnx': mlp(), 'm/2/model.onnx': mlp() })
  const { manager, clock } = await watching(root)
  await manager.startRollout('m', { version: '1' })
  writeInto(root, 'm/3/model.onnx', mlp())
  await clock.settle()
  await vi.waitFor(() => expect(current(manager)).toBe('3'))
  expect(manager.rolloutOf('m')).toMatchObject({
    phase: 'aborted',
    reason: 'version 3 was made the one that serves',
  })
})

it('a version that comes by the name of a label is refused, and the label names what it did', async () => {
  const root = temporaryRepository({ 'm/1/model.onnx': mlp() })
  const { manager, clock, logger } = await watching(root)
  await manager.setLabel('m', '5', '1')
  writeInto(root, 'm/5/model.onnx', mlp())
  await clock.settle()
  await vi.waitFor(() =>
    expect(logger.entries).toContainEqual({
      level: 'error',
      message: expect.stringContaining('"5" is a label of m@1') as string,
    }),
  )
  expect(manager.get('m')).toMatchObject({ current: '1', labels: { 5: '1' } })
})

describe('at the start', () => {
  it('a version that is still being copied does not serve before it is whole', async () => {
    const root = temporaryRepository({ 'm/1/model.onnx': mlp(), 'm/1/ok': '', 'm/2/model.onnx': 'half' })
    const { manager, clock } = await watching(root, { completeMarker: 'ok' })
    expect(states(manager)).toEqual({ 1: 'ready' })
    writeInto(root, 'm/2/model.onnx', mlp())
    writeInto(root, 'm/2/ok', '')
    await clock.look()
    await vi.waitFor(() => expect(current(manager)).toBe('2'))
  })

  it('a model without a whole version says so, and serves once it has one', async () => {
    const root = temporaryRepository({ 'm/1/model.onnx': mlp() })
    const { manager, clock } = await watching(root, { completeMarker: 'ok' })
    expect(manager.problems()).toEqual([
      expect.stringMatching(/no version of model "m" is complete: "ok" is not there\. Found: 1\./),
    ])
    writeInto(root, 'm/1/ok', '')
    await clock.look()
    await vi.waitFor(() => expect(manager.problems()).toEqual([]))
  })
})

describe('a broken version', () => {
  it('leaves what serves, is tried again with growing waits, and serves once it is mended', async () => {
    const root = temporaryRepository({ 'm/1/model.onnx': mlp() })
    const failed: string[] = []
    const { manager, clock, logger } = await watching(root, {
      onLoadFailed: (model, version) => failed.push(`${model}@${version}`),
    })
    writeInto(root, 'm/2/model.onnx', 'not a model')
    await clock.settle()
    await vi.waitFor(() => expect(states(manager)).toEqual({ 1: 'ready', 2: 'failed' }))
    expect(manager.get('m').versions[0]?.reason).toMatch(/could not be loaded/)
    expect(manager.get('m')).toMatchObject({ current: '1' })
    expect(manager.get('m').reason).toBeUndefined()
    expect(logger.entries).toContainEqual({
      level: 'error',
      message: expect.stringContaining('m@2 could not be loaded') as string,
    })
    const before = failed.length
    clock.advance(60_000)
    await vi.waitFor(() => expect(failed.length).toBeGreaterThan(before))
    expect(new Set(failed)).toEqual(new Set(['m@2']))

    writeInto(root, 'm/2/model.onnx', mlp())
    await clock.settle()
    await vi.waitFor(() => expect(current(manager)).toBe('2'))
  })

  it('is not tried while it is being replaced', async () => {
    const root = temporaryRepository({ 'm/1/model.onnx': mlp() })
    let failures = 0
    const { manager, clock } = await watching(root, { onLoadFailed: () => failures++ })
    writeInto(root, 'm/2/model.onnx', 'broken')
    await clock.settle()
    await vi.waitFor(() => expect(failures).toBeGreaterThan(0))
    await vi.waitFor(() => expect(states(manager)).toEqual({ 1: 'ready', 2: 'failed' }))
    const before = failures
    for (let i = 0; i < 20; i++) {
      writeInto(root, 'm/2/model.onnx', 'x'.repeat(100 + i))
      clock.advance(7000)
      await setImmediate()
    }
    await manager.unload('m', '1').catch(() => {}) // after all changes under way
    expect(failures).toBe(before)
  })

  it('that is unloaded is not tried again', async () => {
    const root = temporaryRepository({ 'm/1/model.onnx': mlp() })
    let failures = 0
    const { manager, clock } = await watching(root, { onLoadFailed: () => failures++ })
    writeInto(root, 'm/2/model.onnx', 'broken')
    await clock.settle()
    await vi.waitFor(() => expect(states(manager)).toEqual({ 1: 'ready', 2: 'failed' }))
    await manager.unload('m', '2')
    const before = failures
    clock.advance(600_000)
    await clock.settle()
    await manager.unload('m') // after all changes under way
    expect(failures).toBe(before)
  })

  it('of the only one heals when it is mended', async () => {
    const root = temporaryRepository({ 'm/1/model.onnx': 'broken' })
    const { manager, clock } = await watching(root)
    await vi.waitFor(() => expect(states(manager)).toEqual({ 1: 'failed' }))
    writeInto(root, 'm/1/model.onnx', mlp())
    await clock.settle()
    await vi.waitFor(() => expect(states(manager)).toEqual({ 1: 'ready' }))
  })
})

it('a served version whose files change is told once, and not read again', async () => {
  const root = temporaryRepository({ 'm/1/model.onnx': mlp([4, 2]) })
  const { manager, clock, logger } = await watching(root)
  writeInto(root, 'm/1/model.onnx', mlp([5, 2]))
  await clock.settle()
  await clock.settle()
  const [version] = manager.get('m').versions
  expect(version).toMatchObject({ state: 'ready', changed: true })
  expect([...manager.status()]).toMatchObject([{ changed: true }])
  expect(manager.get('m').inputs).toMatchObject([{ shape: ['batch', 4] }])
  const warnings = logger.entries.filter(
    ({ level, message }) => level === 'warn' && message.includes('changed'),
  )
  expect(warnings).toHaveLength(1)
})

describe('a folder that disappears', () => {
  it('costs a loaded version nothing, and an unloaded one is forgotten', async () => {
    const root = temporaryRepository({ 'm/1/model.onnx': mlp(), 'm/2/model.onnx': mlp() })
    const { manager, clock, logger } = await watching(root)
    for (const version of ['1', '2']) rmSync(join(root, 'm', version), { recursive: true })
    await clock.settle()
    await vi.waitFor(() => expect(states(manager)).toEqual({ 2: 'ready' }))
    expect(logger.entries.filter(({ message }) => message.includes('is gone from its folder'))).toHaveLength(
      2,
    )
  })

  it('with all of a model is forgotten once none of its versions is loaded', async () => {
    const root = temporaryRepository({ 'm/1/model.onnx': mlp(), 'n/1/model.onnx': mlp() })
    const { manager, clock } = await watching(root)
    rmSync(join(root, 'm'), { recursive: true })
    await clock.settle()
    expect(manager.names()).toEqual(['m', 'n'])
    await manager.unload('m')
    await clock.look()
    expect(manager.names()).toEqual(['n'])
  })

  it('and comes back as it was is nothing new', async () => {
    const root = temporaryRepository({ 'm/1/model.onnx': mlp(), 'm/2/model.onnx': mlp() })
    const { manager, clock } = await watching(root)
    await manager.switchVersion('m', '1')
    await manager.unload('m', '2')
    await manager.unload('m')
    await manager.load('m', '1')
    renameSync(join(root, 'm/2'), join(root, 'away'))
    await clock.settle()
    await vi.waitFor(() => expect(states(manager)).toEqual({ 1: 'ready' }))
    renameSync(join(root, 'away'), join(root, 'm/2'))
    await clock.settle()
    await vi.waitFor(() => expect(states(manager)).toEqual({ 1: 'ready', 2: 'registered' }))
  })

  it('that is the whole repository changes nothing', async () => {
    const root = temporaryRepository({ 'models/m/1/model.onnx': mlp() })
    const { manager, clock, logger } = await watching(join(root, 'models'))
    renameSync(join(root, 'models'), join(root, 'away'))
    await clock.settle()
    expect(states(manager)).toEqual({ 1: 'ready' })
    expect(logger.entries.filter(({ level }) => level === 'error')).toEqual([])
    renameSync(join(root, 'away'), join(root, 'models'))
    writeInto(root, 'models/m/2/model.onnx', mlp())
    await clock.settle()
    await vi.waitFor(() => expect(current(manager)).toBe('2'))
  })
})

describe('links', () => {
  it('that are swapped as Kubernetes does bring new versions', async () => {
    const root = temporaryRepository({
      '..a/1/model.onnx': mlp(),
      '..b/1/model.onnx': mlp(),
      '..b/2/model.onnx': mlp(),
    })
    mkdirSync(join(root, 'models'))
    symlinkSync(join(root, '..a'), join(root, '..data'))
    symlinkSync(join(root, '..data'), join(root, 'models/m'))
    const { manager, clock } = await watching(join(root, 'models'))
    expect(states(manager)).toEqual({ 1: 'ready' })
    symlinkSync(join(root, '..b'), join(root, '..next'))
    renameSync(join(root, '..next'), join(root, '..data'))
    await clock.settle()
    await vi.waitFor(() => expect(current(manager)).toBe('2'))
    expect(manager.get('m').versions.find(({ version }) => version === '1')).toMatchObject({ changed: true })
  })

  it('named current say which version serves', async () => {
    const root = temporaryRepository({
      'm/v1/model.onnx': mlp(),
      'm/v2/model.onnx': mlp(),
      'm/v3/model.onnx': mlp(),
    })
    const point = (version: string) => {
      symlinkSync(version, join(root, 'm/next'))
      renameSync(join(root, 'm/next'), join(root, 'm/current'))
    }
    point('v1')
    const { manager, clock } = await watching(root)
    expect(current(manager)).toBe('v1')
    expect(Object.keys(states(manager))).toEqual(['v3', 'v2', 'v1'])
    point('v2')
    await clock.look()
    await vi.waitFor(() => expect(current(manager)).toBe('v2'))
  })

  it('named current may lead to where releases are', async () => {
    const root = temporaryRepository({ 'releases/v1/model.onnx': mlp(), 'models/m/notes.txt': '' })
    symlinkSync('../../releases/v1', join(root, 'models/m/current'))
    const { manager, clock } = await watching(join(root, 'models'))
    expect(states(manager)).toEqual({ v1: 'ready' })
    writeInto(root, 'releases/v2/model.onnx', mlp())
    symlinkSync('../../releases/v2', join(root, 'models/m/.next'))
    renameSync(join(root, 'models/m/.next'), join(root, 'models/m/current'))
    await clock.settle()
    await vi.waitFor(() => expect(current(manager)).toBe('v2'))
    expect(states(manager)).toEqual({ v1: 'ready', v2: 'ready' })
  })
})

describe('versions', () => {
  it.each([
    ['all', { 1: 'ready', 2: 'ready', 3: 'ready' }],
    [{ latest: 2 }, { 1: 'registered', 2: 'ready', 3: 'ready' }],
    [{ only: ['1', '2'] }, { 1: 'ready', 2: 'ready', 3: 'registered' }],
  ])('%j are loaded at the start', async (versions, expected) => {
    const root = temporaryRepository({
      'm/model.json': { versions },
      'm/1/model.onnx': mlp(),
      'm/2/model.onnx': mlp(),
      'm/3/model.onnx': mlp(),
    })
    const manager = new ModelManager({ logger: quietLogger() })
    onTestFinished(() => manager.close())
    manager.start(root, new Map())
    await manager.ready()
    await vi.waitFor(() => expect(states(manager)).toEqual(expected))
    expect(current(manager)).toBe(typeof versions === 'object' && 'only' in versions ? '2' : '3')
  })

  it('the latest two stay loaded as others come', async () => {
    const root = temporaryRepository({
      'm/model.json': { versions: { latest: 2 }, keepPrevious: 0 },
      'm/1/model.onnx': mlp(),
      'm/2/model.onnx': mlp(),
    })
    const { manager, clock } = await watching(root)
    await vi.waitFor(() => expect(states(manager)).toEqual({ 1: 'ready', 2: 'ready' }))
    writeInto(root, 'm/3/model.onnx', 'broken')
    await clock.settle()
    await vi.waitFor(() => expect(states(manager)).toEqual({ 1: 'ready', 2: 'ready', 3: 'failed' }))
    writeInto(root, 'm/3/model.onnx', mlp())
    await clock.settle()
    await vi.waitFor(() => expect(states(manager)).toEqual({ 1: 'unloaded', 2: 'ready', 3: 'ready' }))
    expect(current(manager)).toBe('3')
  })
})

describe('model.json', () => {
  it('is followed when it names another version', async () => {
    const root = temporaryRepository({
      'm/model.json': { current: '1' },
      'm/1/model.onnx': mlp(),
      'm/2/model.onnx': mlp(),
    })
    const { manager, clock } = await watching(root)
    expect(current(manager)).toBe('1')
    writeInto(root, 'm/model.json', { current: '2', description: 'second' })
    await clock.settle()
    await vi.waitFor(() => expect(manager.get('m')).toMatchObject({ current: '2', description: 'second' }))
  })

  it('moves its labels, brings and takes them away, but for those that somebody set since', async () => {
    const root = temporaryRepository({
      'm/model.json': { labels: { stable: '1', old: '1', ours: '1' } },
      'm/1/model.onnx': mlp(),
      'm/2/model.onnx': mlp(),
    })
    const { manager, clock } = await watching(root)
    expect(manager.get('m').labels).toEqual({ stable: '1', old: '1', ours: '1' })
    await manager.setLabel('m', 'ours', '2')
    const changes: ModelChange[] = []
    manager.onChange((change) => changes.push(change))
    writeInto(root, 'm/model.json', { labels: { stable: '2', next: '2', ours: '1' } })
    await clock.settle()
    await vi.waitFor(() => expect(manager.get('m').labels).toEqual({ stable: '2', next: '2', ours: '2' }))
    const repository = { action: 'label', actor: 'repository', result: 'success' }
    expect(changes).toMatchObject([
      { ...repository, label: 'old', from: '1', to: undefined },
      { ...repository, label: 'stable', from: '1', to: '2' },
      { ...repository, label: 'next', from: undefined, to: '2' },
    ])
  })

  it('that is broken changes nothing and is told, until it is mended', async () => {
    const root = temporaryRepository({ 'm/model.json': { description: 'first' }, 'm/1/model.onnx': mlp() })
    const broken: string[] = []
    const { manager, clock, logger } = await watching(root, { onConfigFailed: (model) => broken.push(model) })
    writeInto(root, 'm/model.json', { descripton: 'second' })
    await clock.settle()
    await vi.waitFor(() =>
      expect(manager.get('m').configReason).toMatch(/^m.model\.json: unknown option "descripton"/),
    )
    expect(manager.get('m')).toMatchObject({ description: 'first', current: '1' })
    expect(states(manager)).toEqual({ 1: 'ready' })
    expect(manager.problems()).toEqual([])
    expect(broken).toEqual(['m'])
    expect(logger.entries.filter(({ level }) => level === 'error')).toHaveLength(1)
    writeInto(root, 'm/model.json', { description: 'third' })
    await clock.settle()
    await vi.waitFor(() => expect(manager.get('m').description).toBe('third'))
    expect(manager.get('m').configReason).toBeUndefined()
  })

  it('that was broken at the start heals the model when it is mended', async () => {
    const root = temporaryRepository({ 'm/model.json': '{', 'm/1/model.onnx': mlp() })
    const { manager, clock } = await watching(root)
    expect(manager.problems()).toHaveLength(1)
    writeInto(root, 'm/model.json', {})
    await clock.settle()
    await vi.waitFor(() => expect(states(manager)).toEqual({ 1: 'ready' }))
  })
})

describe('a model that comes into the repository', () => {
  it('is served', async () => {
    const root = temporaryRepository({ 'm/1/model.onnx': mlp() })
    const { manager, clock } = await watching(root)
    writeInto(root, 'n/1/model.onnx', mlp())
    writeInto(root, 'n/2/model.onnx', mlp())
    await clock.settle()
    await vi.waitFor(() => expect(manager.get('n').current).toBe('2'))
  })

  it('and is broken makes no replica unready', async () => {
    const root = temporaryRepository({ 'm/1/model.onnx': mlp() })
    const { manager, clock } = await watching(root)
    writeInto(root, 'n/1/model.onnx', 'broken')
    writeInto(root, 'o/1/model.onnx', mlp())
    writeInto(root, 'o/model.json', '{')
    await clock.settle()
    await vi.waitFor(() => expect(manager.get('n').reason).toMatch(/could not be loaded/))
    await vi.waitFor(() => expect(manager.get('o').reason).toMatch(/is not JSON/))
    expect(manager.problems()).toEqual([])
    await expect(manager.lease('n')).rejects.toMatchObject({ code: 'MODEL_NOT_READY' })
  })
})

it('nothing is looked at any more after close', async () => {
  const root = temporaryRepository({ 'm/1/model.onnx': mlp() })
  const { manager, clock } = await watching(root)
  await manager.close()
  const { looks } = clock
  clock.advance(10 * intervalMs)
  await setImmediate()
  expect(clock.looks).toBe(looks)
})

it('no request fails while versions come, break, change and go', async () => {
  const root = temporaryRepository({ 'models/m/1/model.onnx': mlp([2, 2]), 'fresh/model.onnx': mlp([2, 2]) })
  const serving = createServing({
    models: { m: onnx({ source: join(root, 'models/m') }) },
    repository: join(root, 'models'),
    watch: { intervalMs: 10, stableMs: 40 },
    logger: quietLogger(),
  })
  onTestFinished(() => serving.close())
  await serving.ready()
  const seen = new Set<string>()
  let isOver = false
  const caller = async () => {
    while (!isOver) seen.add((await serving.predict('m', { x: [1, 2] })).meta.version)
  }
  const callers = Promise.all(Array.from({ length: 4 }, caller))
  const isCurrent = (version: string) =>
    vi.waitFor(() => expect(serving.models.get('m').current).toBe(version), { timeout: 20_000 })

  const model = (version: string) => join(root, 'models/m', version)
  for (const version of ['2', '3', '4', '5']) {
    cpSync(join(root, 'fresh'), model(version), { recursive: true })
    await isCurrent(version)
  }
  mkdirSync(model('6'))
  const bytes = mlp([2, 2])
  for (let at = 0; at < bytes.length; at += 40) {
    await appendFile(join(model('6'), 'model.onnx'), bytes.subarray(at, at + 40))
    await new Promise((resolve) => setTimeout(resolve, 15))
  }
  await isCurrent('6')
  writeInto(root, 'models/m/7/model.onnx', 'broken')
  writeInto(root, 'models/m/model.json', '{')
  await vi.waitFor(() => expect(serving.models.get('m').configReason).toBeDefined())
  await vi.waitFor(() =>
    expect(serving.models.get('m').versions[0]).toMatchObject({ version: '7', state: 'failed' }),
  )
  writeFileSync(join(model('6'), 'model.onnx'), 'overwritten')
  await vi.waitFor(() =>
    expect(serving.models.get('m').versions[1]).toMatchObject({ version: '6', changed: true }),
  )
  rmSync(model('6'), { recursive: true })
  rmSync(model('7'), { recursive: true })
  await vi.waitFor(() => expect(serving.models.get('m').versions[0]).toMatchObject({ version: '6' }))
  cpSync(join(root, 'fresh'), model('8'), { recursive: true })
  await isCurrent('8')
  isOver = true
  await callers
  expect(seen).toContain('6')
  const { body } = await serving.metrics.exposition()
  expect(body).toMatch(/model_load_failures_total\{model="m",model_version="7"\} [1-9]/)
  expect(body).toMatch(/model_config_failures_total\{model="m"\} [1-9]/)
})

it('options of watching are checked', () => {
  const serving = (watch: unknown) => () => createServing({ repository: 'x', watch: watch as true })
  expect(serving({ intervalMs: 1 })).toThrow(/watch: intervalMs must be an integer from 10/)
  expect(serving({ completeMarker: '../x' })).toThrow(/watch: completeMarker must be a file name/)
  expect(serving(false)).toThrow(ServingError)
})
