import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { ModelManager } from '../../src/models/manager.js'
import type { ModelManagerOptions } from '../../src/models/manager-options.js'
import { identityModel, loopModel, mlp } from '../onnx/models.js'
import { ManualClock } from '../manual-clock.js'
import { quietLogger } from './quiet-logger.js'
import { temporaryRepository, writeInto } from './temporary-repository.js'

function managerOf(repository?: string, options: ModelManagerOptions = {}): ModelManager {
  const manager = new ModelManager({ logger: quietLogger(), ...options })
  onTestFinished(() => manager.close())
  if (repository !== undefined) manager.start(repository, new Map())
  return manager
}

const states = (manager: ModelManager, model: string) =>
  Object.fromEntries(manager.get(model).versions.map(({ version, state }) => [version, state]))

describe('a folder of models', () => {
  it('serves the highest version of each and knows the others', async () => {
    const manager = managerOf(
      temporaryRepository({ 'm/9/model.onnx': mlp(), 'm/10/model.onnx': mlp(), 'n/1.0/model.onnx': mlp() }),
    )
    await manager.ready()
    expect(manager.names()).toEqual(['m', 'n'])
    expect(manager.get('m').current).toBe('10')
    expect(states(manager, 'm')).toEqual({ 10: 'ready', 9: 'registered' })
  })

  it('serves the version that model.json calls current', async () => {
    const manager = managerOf(
      temporaryRepository({
        'm/1/model.onnx': mlp(),
        'm/2/model.onnx': mlp(),
        'm/model.json': { current: '1', description: 'a test' },
      }),
    )
    await manager.ready()
    expect(manager.get('m')).toMatchObject({ current: '1', description: 'a test' })
  })

  it('tells inputs, outputs and load time of what it serves, and each load to its observer', async () => {
    const loads: unknown[] = []
    const manager = managerOf(temporaryRepository({ 'm/1/model.onnx': mlp([4, 2]) }), {
      onLoaded: (model, version, loadTimeMs) => loads.push([model, version, loadTimeMs]),
    })
    await manager.ready()
    const { inputs, outputs, versions } = manager.get('m')
    expect(inputs).toEqual([{ name: 'x', dtype: 'float32', shape: ['batch', 4] }])
    expect(outputs).toEqual([{ name: 'y', dtype: 'float32', shape: ['batch', 2] }])
    expect(loads).toEqual([['m', '1', versions[0]?.loadTimeMs]])
  })

  it('is not ready before it was looked through', async () => {
    const manager = managerOf(temporaryRepository({ 'm/1/model.onnx': mlp() }))
    expect(manager.problems()).toEqual(['the models are still being looked up'])
    await manager.ready()
    expect(manager.problems()).toEqual([])
  })

  it('shows each broken model with its reason, and serves the others', async () => {
    const logger = quietLogger()
    const manager = managerOf(
      temporaryRepository({
        'good/1/model.onnx': mlp(),
        'corrupt/1/model.onnx': 'not a model',
        'empty/notes.txt': '',
        'odd/model.json': { placment: 'thread' },
        'odd/1/model.onnx': mlp(),
        'absent/model.json': { current: '7' },
        'absent/1/model.onnx': mlp(),
      }),
      { logger },
    )
    await expect(manager.ready()).rejects.toMatchObject({ code: 'MODEL_NOT_READY' })
    expect(manager.problems()).toEqual([
      expect.stringMatching(/^model "absent" can't serve: model "absent" has no version "7"\. Known: 1\.$/),
      expect.stringMatching(/^model "corrupt" can't serve: .*model\.onnx could not be loaded/),
      expect.stringMatching(/^model "empty" can't serve: .* holds no version/),
      expect.stringMatching(
        /^model "odd" can't serve: .*unknown option "placment"\. Did you mean "placement"\?/,
      ),
    ])
    expect(states(manager, 'corrupt')).toEqual({ 1: 'failed' })
    expect(manager.get('corrupt').versions[0]?.reason).toMatch(/could not be loaded/)
    expect(logger.entries.filter(({ level }) => level === 'error')).toHaveLength(4)
    const lease = await manager.lease('good')
    expect(lease.version).toBe('1')
    lease.release()
  })

  it('that is not there is told by ready', async () => {
    const manager = managerOf(join(temporaryRepository({}), 'nowhere'))
    await expect(manager.ready()).rejects.toThrow(/the repository .*nowhere could not be read/)
  })
})

describe('load', () => {
  it('makes the first version current and leaves a later one beside it', async () => {
    const files = temporaryRepository({ 'a.onnx': mlp(), 'b.onnx': mlp() })
    const manager = managerOf()
    await manager.load('m', '1', { source: join(files, 'a.onnx') })
    await manager.load('m', '2', { source: join(files, 'b.onnx') })
    expect(manager.get('m').current).toBe('1')
    expect(states(manager, 'm')).toEqual({ 1: 'ready', 2: 'ready' })
    await manager.load('m', '2', { activate: true })
    expect(manager.get('m').current).toBe('2')
  })

  it('finds a version that came into the folder later', async () => {
    const root = temporaryRepository({ 'm/1/model.onnx': mlp() })
    const manager = managerOf(root)
    await manager.ready()
    await expect(manager.load('m', '2')).rejects.toMatchObject({ code: 'VERSION_NOT_FOUND' })
    writeInto(root, 'm/2/model.onnx', mlp())
    await manager.load('m', '2')
    expect(states(manager, 'm')).toEqual({ 1: 'ready', 2: 'ready' })
  })

  it('that fails leaves what serves untouched, and succeeds once the file is whole', async () => {
    const root = temporaryRepository({
      'm/1/model.onnx': mlp(),
      'm/2/model.onnx': 'half',
      'm/model.json': { current: '1' },
    })
    const manager = managerOf(root)
    await manager.ready()
    await expect(manager.load('m', '2', { activate: true })).rejects.toMatchObject({ code: 'INVALID_MODEL' })
    expect(manager.get('m').current).toBe('1')
    expect(states(manager, 'm')).toEqual({ 1: 'ready', 2: 'failed' })
    writeFileSync(join(root, 'm/2/model.onnx'), mlp())
    await manager.load('m', '2', { activate: true })
    expect(manager.get('m').current).toBe('2')
  })

  it('joins a load of the same version', async () => {
    let loads = 0
    const root = temporaryRepository({ 'a.onnx': mlp() })
    const manager = managerOf(undefined, { onLoaded: () => loads++ })
    const source = join(root, 'a.onnx')
    await Promise.all([
      manager.load('m', '1', { source }),
      manager.load('m', '1', { source }),
      manager.load('m', '1'),
    ])
    expect(loads).toBe(1)
  })

  it('of an unknown model without a source is refused, and a failed one leaves no trace', async () => {
    const manager = managerOf()
    await expect(manager.load('m', '1')).rejects.toMatchObject({
      code: 'MODEL_NOT_FOUND',
      message: 'no model "m". No model is served.',
    })
    await expect(manager.load('m', '1', { source: '/nowhere.onnx' })).rejects.toMatchObject({
      code: 'INVALID_MODEL',
    })
    expect(manager.names()).toEqual([])
  })

  it.each(['../x', 'a/b', '', '.hidden', 'latest', 'x'.repeat(1_000_000)])(
    'of a version named %.20j is refused',
    async (name) => {
      const root = temporaryRepository({ 'm/1/model.onnx': mlp() })
      const manager = managerOf(root)
      await expect(manager.load('m', name)).rejects.toMatchObject({ code: 'INVALID_OPTIONS' })
    },
  )

  it('refuses a task that does not fit the model, and frees its session', async () => {
    const manager = managerOf(
      temporaryRepository({
        'm/1/model.onnx': mlp(),
        'm/model.json': { task: { type: 'classification', output: 'probs' } },
      }),
    )
    await expect(manager.ready()).rejects.toThrow(
      /m@1: there is no output "probs"\. The model gives "y" \(float32 \[batch, 2\]\)/,
    )
  })

  it('takes the task of a version from its own folder', async () => {
    const manager = managerOf(
      temporaryRepository({
        'm/1/model.onnx': mlp([4, 2]),
        'm/1/model.json': { task: { type: 'classification', output: 'y', classes: ['a', 'b'] } },
        'm/model.json': { task: { type: 'classification', output: 'other' } },
      }),
    )
    await manager.ready()
    expect(states(manager, 'm')).toEqual({ 1: 'ready' })
  })
})

describe('switchVersion', () => {
  it('is atomic: a lease taken before stays on its version, one taken after is on the new one', async () => {
    const manager = managerOf(
      temporaryRepository({
        'm/1/model.onnx': mlp(),
        'm/2/model.onnx': mlp(),
        'm/model.json': { current: '1' },
      }),
    )
    const before = await manager.lease('m')
    await manager.switchVersion('m', '2')
    const after = await manager.lease('m')
    expect([before.version, after.version]).toEqual(['1', '2'])
    before.release()
    after.release()
  })

  it('keeps the version before resident, and unloads the one before that once its leases are released', async () => {
    const files = {
      'm/1/model.onnx': mlp(),
      'm/2/model.onnx': mlp(),
      'm/3/model.onnx': mlp(),
      'm/model.json': { current: '1' },
    }
    const manager = managerOf(temporaryRepository(files))
    const lease = await manager.lease('m')
    await manager.switchVersion('m', '2')
    expect(states(manager, 'm')).toEqual({ 1: 'ready', 2: 'ready', 3: 'registered' })
    await manager.switchVersion('m', '3')
    expect(states(manager, 'm')).toEqual({ 1: 'draining', 2: 'ready', 3: 'ready' })
    expect(manager.tryLease('m', '1')).toBeUndefined()
    lease.release()
    lease.release()
    await expect.poll(() => states(manager, 'm')).toEqual({ 1: 'unloaded', 2: 'ready', 3: 'ready' })
  })

  it('to and fro between two versions loads nothing again', async () => {
    let loads = 0
    const files = { 'm/1/model.onnx': mlp(), 'm/2/model.onnx': mlp() }
    const manager = managerOf(temporaryRepository(files), { onLoaded: () => loads++ })
    await manager.ready()
    for (const version of ['1', '2', '1', '2', '1']) await manager.switchVersion('m', version)
    expect(manager.get('m').current).toBe('1')
    expect(loads).toBe(2)
  })

  it('that comes back to a draining version makes it serve again, without a load', async () => {
    let loads = 0
    const files = {
      'm/1/model.onnx': mlp(),
      'm/2/model.onnx': mlp(),
      'm/3/model.onnx': mlp(),
      'm/model.json': { current: '1' },
    }
    const manager = managerOf(temporaryRepository(files), { onLoaded: () => loads++ })
    const lease = await manager.lease('m')
    await manager.switchVersion('m', '2')
    await manager.switchVersion('m', '3')
    expect(states(manager, 'm')).toEqual({ 1: 'draining', 2: 'ready', 3: 'ready' })
    await manager.switchVersion('m', '1')
    expect(manager.get('m').current).toBe('1')
    expect(loads).toBe(3)
    const again = await manager.lease('m')
    lease.release()
    again.release()
    expect(states(manager, 'm')['1']).toBe('ready')
  })

  it('to a version that does not exist changes nothing', async () => {
    const manager = managerOf(temporaryRepository({ 'm/1/model.onnx': mlp() }))
    await manager.ready()
    await expect(manager.switchVersion('m', '4')).rejects.toMatchObject({
      code: 'VERSION_NOT_FOUND',
      message: 'model "m" has no version "4". Known: 1.',
    })
    expect(manager.get('m').current).toBe('1')
  })
})

describe('rollback', () => {
  const files = {
    'm/1/model.onnx': mlp(),
    'm/2/model.onnx': mlp(),
    'm/3/model.onnx': mlp(),
    'm/model.json': { current: '1' },
  }

  it('walks the history of switches, and says where it had to load again', async () => {
    const manager = managerOf(temporaryRepository(files))
    await manager.ready()
    await manager.switchVersion('m', '2')
    await manager.switchVersion('m', '3')
    await expect.poll(() => states(manager, 'm')).toEqual({ 1: 'unloaded', 2: 'ready', 3: 'ready' })
    expect(await manager.rollback('m')).toEqual({ version: '2', from: '3', reloaded: false })
    expect(await manager.rollback('m')).toEqual({ version: '1', from: '2', reloaded: true })
    expect(manager.get('m').current).toBe('1')
    await expect(manager.rollback('m')).rejects.toMatchObject({ code: 'CONFLICT', status: 409 })
  })

  it('that can not load the version before leaves the present one serving', async () => {
    const root = temporaryRepository({ ...files, 'm/model.json': { current: '1', keepPrevious: 0 } })
    const manager = managerOf(root)
    await manager.ready()
    await manager.switchVersion('m', '2')
    await expect.poll(() => states(manager, 'm')['1']).toBe('unloaded')
    rmSync(join(root, 'm/1'), { recursive: true })
    await expect(manager.rollback('m')).rejects.toMatchObject({ code: 'INVALID_MODEL' })
    expect(manager.get('m').current).toBe('2')
    writeInto(root, 'm/1/model.onnx', mlp())
    expect(await manager.rollback('m')).toEqual({ version: '1', from: '2', reloaded: true })
  })
})

describe('unload', () => {
  it('frees a version that does not serve, and refuses the one that does', async () => {
    const manager = managerOf(temporaryRepository({ 'm/1/model.onnx': mlp(), 'm/2/model.onnx': mlp() }))
    await manager.load('m', '1')
    await manager.unload('m', '1')
    expect(states(manager, 'm')).toEqual({ 1: 'unloaded', 2: 'ready' })
    await expect(manager.unload('m', '2')).rejects.toMatchObject({
      code: 'CONFLICT',
      message: 'm@2 serves: switch to another version, or unload the model.',
    })
    await expect(manager.unload('m', '3')).rejects.toMatchObject({ code: 'VERSION_NOT_FOUND' })
  })

  it('of a model ends its requests first, and a load brings it back', async () => {
    const manager = managerOf(temporaryRepository({ 'm/1/model.onnx': mlp() }))
    const lease = await manager.lease('m')
    const unloaded = manager.unload('m')
    await expect.poll(() => states(manager, 'm')).toEqual({ 1: 'draining' })
    await expect(manager.lease('m')).rejects.toMatchObject({ code: 'MODEL_NOT_READY' })
    lease.release()
    await unloaded
    await manager.load('m', '1')
    expect(manager.get('m').current).toBe('1')
  })
})

describe('a lazy model', () => {
  it('is loaded by the first request that needs it, once for all that come together', async () => {
    let loads = 0
    const manager = managerOf(
      temporaryRepository({ 'm/1/model.onnx': mlp(), 'm/model.json': { lazy: true } }),
      { onLoaded: () => loads++ },
    )
    await manager.ready()
    expect(states(manager, 'm')).toEqual({ 1: 'registered' })
    const leases = await Promise.all([1, 2, 3].map(() => manager.lease('m')))
    for (const lease of leases) lease.release()
    expect(loads).toBe(1)
  })

  it('that fails is not tried again by each request, but after a growing wait', async () => {
    const clock = new ManualClock()
    const root = temporaryRepository({ 'm/1/model.onnx': 'broken', 'm/model.json': { lazy: true } })
    const logger = quietLogger()
    const manager = managerOf(root, { clock, logger })
    await manager.ready()
    const attempts = () => logger.entries.filter(({ level }) => level === 'error').length
    for (let i = 0; i < 3; i++)
      await expect(manager.lease('m')).rejects.toMatchObject({
        code: 'MODEL_NOT_READY',
        headers: { 'retry-after': '1' },
      })
    expect(attempts()).toBe(1)
    clock.advance(500)
    for (let i = 0; i < 3; i++)
      await expect(manager.lease('m')).rejects.toMatchObject({ code: 'MODEL_NOT_READY' })
    expect(attempts()).toBe(2)
    clock.advance(999)
    await expect(manager.lease('m')).rejects.toMatchObject({ code: 'MODEL_NOT_READY' })
    expect(attempts()).toBe(2)
    writeInto(root, 'm/1/model.onnx', mlp())
    clock.advance(1)
    const lease = await manager.lease('m')
    lease.release()
  })
})

it('an eager model that could not be loaded is tried again by itself', async () => {
  const clock = new ManualClock()
  const root = temporaryRepository({ 'm/1/model.onnx': 'broken' })
  const manager = managerOf(root, { clock })
  await expect(manager.ready()).rejects.toMatchObject({ code: 'MODEL_NOT_READY' })
  expect(manager.problems()[0]).not.toContain(root)
  writeInto(root, 'm/1/model.onnx', mlp())
  clock.advance(500)
  await expect.poll(() => manager.problems()).toEqual([])
})

it('a wrong model.json keeps a model from serving until it is mended, and is then followed', async () => {
  const clock = new ManualClock()
  const root = temporaryRepository({ 'm/1/model.onnx': mlp(), 'm/2/model.onnx': mlp(), 'm/model.json': '{' })
  const manager = managerOf(root, { clock })
  await expect(manager.ready()).rejects.toMatchObject({ code: 'MODEL_NOT_READY' })
  clock.advance(500)
  await expect(manager.load('m', '1')).rejects.toMatchObject({ code: 'INVALID_CONFIG' })
  expect(manager.problems()[0]).toMatch(/model\.json is not JSON/)
  writeInto(root, 'm/model.json', { current: '1', description: 'mended' })
  clock.advance(1000)
  await expect.poll(() => manager.problems()).toEqual([])
  expect(manager.get('m')).toMatchObject({ current: '1', description: 'mended' })
})

it('a model that has served makes nothing unready when it is unloaded', async () => {
  const manager = managerOf(temporaryRepository({ 'm/1/model.onnx': mlp() }))
  await manager.ready()
  await manager.unload('m')
  expect(manager.problems()).toEqual([])
  await expect(manager.lease('m')).rejects.toMatchObject({ code: 'MODEL_NOT_READY' })
})

it('a rollback leaves nothing resident beyond what keepPrevious says', async () => {
  const root = temporaryRepository({
    'm/1/model.onnx': mlp(),
    'm/2/model.onnx': mlp(),
    'm/3/model.onnx': mlp(),
    'm/model.json': { current: '1', keepPrevious: 0 },
  })
  const manager = managerOf(root)
  await manager.ready()
  for (const version of ['2', '3']) {
    await manager.switchVersion('m', version)
    await manager.rollback('m')
    expect(manager.get('m').current).toBe('1')
  }
  await expect.poll(() => states(manager, 'm')).toEqual({ 1: 'ready', 2: 'unloaded', 3: 'unloaded' })
})

it('a model that is unloaded is not tried again, however its first load ended', async () => {
  const clock = new ManualClock()
  const root = temporaryRepository({ 'm/1/model.onnx': 'broken' })
  const manager = managerOf(root, { clock })
  await expect(manager.ready()).rejects.toMatchObject({ code: 'MODEL_NOT_READY' })
  await manager.unload('m')
  expect(clock.timers).toBe(0)
  expect(states(manager, 'm')).toEqual({ 1: 'unloaded' })
})

it('a failed load of a new model forgets neither what another call loads, nor what was configured', async () => {
  const root = temporaryRepository({ 'good.onnx': mlp(), 'bad.onnx': 'broken' })
  const manager = managerOf()
  const [bad, good] = await Promise.allSettled([
    manager.load('m', '1', { source: join(root, 'bad.onnx') }),
    manager.load('m', '2', { source: join(root, 'good.onnx') }),
  ])
  expect([bad.status, good.status]).toEqual(['rejected', 'fulfilled'])
  expect(manager.get('m').current).toBe('2')

  const missing = join(root, 'nowhere')
  const configured = managerOf(undefined, { clock: new ManualClock() })
  configured.start(undefined, new Map([['n', { kind: 'onnx', source: missing, options: {} }]]))
  await expect(configured.load('n', '1', { source: missing })).rejects.toMatchObject({
    code: 'INVALID_MODEL',
  })
  expect(configured.names()).toEqual(['n'])
  expect(configured.problems()).toHaveLength(1)
})

it('a version that could not be loaded may be loaded from another source, one that serves may not', async () => {
  const root = temporaryRepository({ 'good.onnx': mlp(), 'bad.onnx': 'broken', 'm/1/model.onnx': mlp() })
  const manager = managerOf(root)
  await manager.ready()
  const load = (version: string, source: string) => manager.load('m', version, { source: join(root, source) })
  await expect(load('2', 'bad.onnx')).rejects.toMatchObject({ code: 'INVALID_MODEL' })
  await load('2', 'good.onnx')
  expect(states(manager, 'm')).toEqual({ 1: 'ready', 2: 'ready' })
  await expect(load('1', 'good.onnx')).rejects.toMatchObject({ code: 'CONFLICT' })
})

it('a folder that comes after the start is served with its model.json', async () => {
  const root = temporaryRepository({})
  const manager = managerOf()
  await expect(manager.load('m', '1', { source: join(root, 'm') })).rejects.toMatchObject({
    code: 'INVALID_MODEL',
  })
  writeInto(root, 'm/1/model.onnx', mlp())
  writeInto(root, 'm/model.json', { description: 'late' })
  await manager.load('n', '1', { source: join(root, 'm/1') })
  expect(manager.get('n')).toMatchObject({ current: '1' })
})

describe('a lease', () => {
  it('waits for the first load of its model', async () => {
    const manager = managerOf(temporaryRepository({ 'm/1/model.onnx': mlp() }))
    const lease = await manager.lease('m', 'latest')
    expect(lease.version).toBe('1')
    lease.release()
  })

  it('on a version that is not loaded is refused with what serves', async () => {
    const manager = managerOf(temporaryRepository({ 'm/1/model.onnx': mlp(), 'm/2/model.onnx': mlp() }))
    await expect(manager.lease('m', '1')).rejects.toMatchObject({
      code: 'VERSION_NOT_FOUND',
      message: 'm@1 is not loaded. Serving: 2.',
    })
    await expect(manager.lease('m', '__proto__')).rejects.toMatchObject({ code: 'VERSION_NOT_FOUND' })
  })

  it('on an unknown model is refused with the nearest name', async () => {
    const manager = managerOf(temporaryRepository({ 'sentiment/1/model.onnx': mlp() }))
    await expect(manager.lease('sentimnt')).rejects.toMatchObject({
      code: 'MODEL_NOT_FOUND',
      message: 'no model "sentimnt". Did you mean "sentiment"?',
    })
    await expect(manager.lease('__proto__')).rejects.toMatchObject({ code: 'MODEL_NOT_FOUND' })
  })

  it('gives up waiting when its caller does', async () => {
    const manager = managerOf(temporaryRepository({ 'm/1/model.onnx': mlp() }))
    await expect(manager.lease('m', undefined, { signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'ABORTED',
    })
  })
})

describe('close', () => {
  it('refuses new leases at once, ends the runs under way, and frees every version', async () => {
    const manager = managerOf(temporaryRepository({ 'm/1/model.onnx': loopModel({ ms: 50 }) }))
    const lease = await manager.lease('m')
    const { feeds } = await lease.codec.encode({ x: [1, 2, 3, 4] })
    const run = lease.batcher.submit(feeds)
    const closed = manager.close()
    expect(() => manager.tryLease('m')).toThrow(expect.objectContaining({ code: 'CLOSED' }) as Error)
    expect((await run).result).toMatchObject({ y: { data: Float32Array.of(1, 2, 3, 4) } })
    lease.release()
    await closed
    expect(manager.close()).toBe(manager.close())
    expect(states(manager, 'm')).toEqual({ 1: 'unloaded' })
    await expect(manager.load('m', '1')).rejects.toMatchObject({ code: 'CLOSED' })
  })

  it('waits for loads under way', async () => {
    const manager = managerOf(
      temporaryRepository({ 'm/1/model.onnx': mlp(), 'n/1/model.onnx': identityModel() }),
    )
    await manager.close()
    for (const model of manager.list())
      expect(['registered', 'unloaded', undefined]).toContain(model.versions[0]?.state)
  })
})

it('a version whose file went away after it was loaded goes on serving', async () => {
  const root = temporaryRepository({ 'm/1/model.onnx': mlp([2, 1]) })
  const manager = managerOf(root)
  await manager.ready()
  rmSync(join(root, 'm'), { recursive: true })
  const lease = await manager.lease('m')
  const { feeds } = await lease.codec.encode({ x: [1, 2] })
  await expect(lease.batcher.submit(feeds)).resolves.toBeDefined()
  lease.release()
})
