import { setImmediate } from 'node:timers/promises'
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { ServingError } from '../../src/errors.js'
import { custom, definitionOf } from '../../src/models/definition.js'
import { ModelManager } from '../../src/models/manager.js'
import type { ModelManagerOptions } from '../../src/models/manager-options.js'
import { longestWaitMs, Residency, type Resident } from '../../src/models/residency.js'
import type { ModelDefinition } from '../../src/models/model-definition.js'
import { createServing } from '../../src/create-serving.js'
import { ManualClock } from '../manual-clock.js'
import { addExternal, mlp } from '../onnx/models.js'
import { quietLogger } from './quiet-logger.js'
import { temporaryRepository } from './temporary-repository.js'

const lazy = { lazy: true, placement: 'thread', instances: 1 }

/** Models `m0`, `m1` ... of one version `1`. */
function modelsOf(count: number, config: object = lazy): Record<string, Uint8Array | object> {
  return Object.fromEntries(
    Array.from({ length: count }, (_, i) => i).flatMap((i) => [
      [`m${i}/1/model.onnx`, mlp([4, 2], i + 1)],
      [`m${i}/model.json`, config],
    ]),
  )
}

function managerOf(repository: string, options: ModelManagerOptions): ModelManager {
  const manager = new ModelManager({ logger: quietLogger(), ...options })
  onTestFinished(() => manager.close())
  manager.start(repository, new Map())
  return manager
}

/** Takes a lease as a request does, and ends it. */
async function use(manager: ModelManager, model: string, version?: string): Promise<void> {
  const lease = await manager.lease(model, version)
  lease.release()
}

function loaded(manager: ModelManager): string[] {
  const held = [...manager.status()].filter(({ state }) => ['loading', 'ready', 'draining'].includes(state))
  return held.map(({ model }) => model).sort()
}

describe('maxLoadedModels', () => {
  it('unloads the lazy model that was not used for longest, and loads it again for a request', async () => {
    const manager = managerOf(temporaryRepository(modelsOf(3)), { maxLoadedModels: 2 })
    for (const model of ['m0', 'm1', 'm0', 'm2']) await use(manager, model)
    expect(loaded(manager)).toEqual(['m0', 'm2'])
    await use(manager, 'm1')
    expect(loaded(manager)).toEqual(['m1', 'm2'])
  })

  it('never unloads what a label names', async () => {
    const manager = managerOf(temporaryRepository(modelsOf(3)), { maxLoadedModels: 2 })
    await use(manager, 'm0')
    await manager.setLabel('m0', 'stable', '1')
    for (const model of ['m1', 'm2', 'm1', 'm2']) await use(manager, model)
    expect(loaded(manager)).toEqual(['m0', 'm2'])
    await manager.removeLabel('m0', 'stable')
    await use(manager, 'm1')
    expect(loaded(manager)).toEqual(['m1', 'm2'])
  })

  it('never unloads what has a request under way: the next waits, and is refused with 503 after a time', async () => {
    const clock = new ManualClock()
    const manager = managerOf(temporaryRepository(modelsOf(3)), { maxLoadedModels: 2, clock })
    const leases = [await manager.lease('m0'), await manager.lease('m1')]
    const refused = manager.lease('m2').catch((error: unknown) => error)
    await untilTimers(clock)
    expect(loaded(manager)).toEqual(['m0', 'm1'])
    clock.advance(longestWaitMs)
    expect(await refused).toMatchObject({
      code: 'MODEL_NOT_READY',
      headers: { 'retry-after': '1' },
      message: expect.stringContaining(
        'no room for m2@1: 2 other models are loaded (maxLoadedModels: 2)',
      ) as string,
    })
    leases[0]?.release()
    await use(manager, 'm2')
    expect(loaded(manager)).toEqual(['m1', 'm2'])
    leases[1]?.release()
  })

  it('lets a load in as soon as a request has ended that it waited for', async () => {
    const clock = new ManualClock()
    const manager = managerOf(temporaryRepository(modelsOf(2)), { maxLoadedModels: 1, clock })
    const lease = await manager.lease('m0')
    const waiting = manager.lease('m1')
    await untilTimers(clock)
    lease.release()
    const late = await waiting
    expect(loaded(manager)).toEqual(['m1'])
    late.release()
  })

  it('never unloads eager models, and refuses at once where they take all there is', async () => {
    const manager = managerOf(
      temporaryRepository({
        ...modelsOf(2, { placement: 'thread' }),
        'late/1/model.onnx': mlp(),
        'late/model.json': lazy,
      }),
      { maxLoadedModels: 2 },
    )
    await manager.ready()
    await expect(manager.lease('late')).rejects.toThrow('nothing that is loaded may make room')
    expect(loaded(manager)).toEqual(['m0', 'm1'])
  })

  it('unloads all versions of a model, and loads the one that a request names again', async () => {
    const manager = managerOf(temporaryRepository({ ...modelsOf(2), 'm0/2/model.onnx': mlp([4, 2], 7) }), {
      maxLoadedModels: 1,
    })
    await use(manager, 'm0')
    await manager.load('m0', '1')
    await use(manager, 'm1')
    expect(loaded(manager)).toEqual(['m1'])
    await use(manager, 'm0', '1')
    expect(manager.get('m0').current).toBe('2')
    expect(loaded(manager)).toEqual(['m0'])
  })

  it('answers or refuses each of 200 requests for 20 models at once, of which no more than 3 are ever loaded', async () => {
    const serving = createServing({
      repository: temporaryRepository(modelsOf(20)),
      maxLoadedModels: 3,
      logger: quietLogger(),
    })
    onTestFinished(() => serving.close())
    await serving.models.listed()
    let most = 0
    const over = new AbortController()
    const watch = (async () => {
      while (!over.signal.aborted) {
        most = Math.max(most, loaded(serving.models).length)
        await setImmediate()
      }
    })()
    const answers = await Promise.allSettled(
      Array.from({ length: 200 }, (_, i) => serving.predict(`m${(i * 7) % 20}`, { x: [1, 2, 3, 4] })),
    )
    over.abort()
    await watch
    const failures = answers.flatMap((each) => (each.status === 'rejected' ? [each.reason as unknown] : []))
    expect(failures.filter((error) => !ServingError.is(error, 'MODEL_NOT_READY', 'OVERLOADED'))).toEqual([])
    expect(answers.length - failures.length).toBeGreaterThan(0)
    expect(most).toBeLessThanOrEqual(3)
    expect(most).toBeGreaterThan(1)
  })

  it('counts models of code', async () => {
    const run = (_: unknown, rows: string[]) => rows
    const definitions = ['a', 'b'].map(
      (name) => [name, definitionOf(custom({ load: () => 0, run, lazy: true })) as ModelDefinition] as const,
    )
    const manager = new ModelManager({ logger: quietLogger(), maxLoadedModels: 1 })
    onTestFinished(() => manager.close())
    manager.start(undefined, new Map(definitions))
    await use(manager, 'a')
    await use(manager, 'b')
    expect(loaded(manager)).toEqual(['b'])
  })

  it('ends the waits of loads with a close', async () => {
    const clock = new ManualClock()
    const manager = managerOf(temporaryRepository(modelsOf(2)), { maxLoadedModels: 1, clock })
    const lease = await manager.lease('m0')
    const waiting = manager.lease('m1').catch((error: unknown) => error)
    await untilTimers(clock)
    const closing = manager.close()
    expect(await waiting).toMatchObject({ code: 'CLOSED' })
    lease.release()
    await closing
  })
})

describe('memoryLimitBytes', () => {
  const root = () => temporaryRepository(modelsOf(2))
  const bytesOf = (repository: string, file: string) => statSync(join(repository, file)).size

  it('has room for a model and for the peak of another’s creation, or makes it', async () => {
    const repository = root()
    const bytes = bytesOf(repository, 'm0/1/model.onnx')
    const roomy = managerOf(repository, { memoryLimitBytes: 3 * bytes })
    await use(roomy, 'm0')
    await use(roomy, 'm1')
    expect(loaded(roomy)).toEqual(['m0', 'm1'])

    const tight = managerOf(repository, { memoryLimitBytes: 3 * bytes - 1 })
    await use(tight, 'm0')
    await use(tight, 'm1')
    expect(loaded(tight)).toEqual(['m1'])
  })

  it('counts each instance, and refuses at once what can never fit', async () => {
    const repository = temporaryRepository(modelsOf(1, { ...lazy, instances: 2 }))
    const bytes = bytesOf(repository, 'm0/1/model.onnx')
    await use(managerOf(repository, { memoryLimitBytes: 4 * bytes }), 'm0')
    await expect(managerOf(repository, { memoryLimitBytes: 4 * bytes - 1 }).lease('m0')).rejects.toThrow(
      `its load takes ${4 * bytes} bytes beside the 0 that are taken`,
    )
  })

  it('counts external data', async () => {
    const repository = temporaryRepository({
      'm0/1/model.onnx': addExternal('w.bin'),
      'm0/1/w.bin': new Uint8Array(new Float32Array([1, 2, 3]).buffer),
      'm0/model.json': lazy,
    })
    const bytes = bytesOf(repository, 'm0/1/model.onnx') + 12
    await use(managerOf(repository, { memoryLimitBytes: 2 * bytes }), 'm0')
    await expect(managerOf(repository, { memoryLimitBytes: 2 * bytes - 1 }).lease('m0')).rejects.toThrow(
      'there is no room for m0@1',
    )
  })

  it('refuses a load that is asked for beside what serves, which goes on', async () => {
    const repository = temporaryRepository({ 'm0/1/model.onnx': mlp([4, 2]), 'm0/2/model.onnx': mlp([4, 2]) })
    const bytes = bytesOf(repository, 'm0/1/model.onnx')
    const manager = managerOf(repository, { memoryLimitBytes: 3 * bytes - 1 })
    await manager.ready()
    await expect(manager.switchVersion('m0', '1')).rejects.toMatchObject({ code: 'MODEL_NOT_READY' })
    expect(manager.get('m0').current).toBe('2')
    await use(manager, 'm0')
  })
})

describe('idleUnloadMs', () => {
  const idle = { ...lazy, idleUnloadMs: 1000 }

  it('unloads a lazy model that nobody asked for so long, and loads it again for a request', async () => {
    const clock = new ManualClock()
    const manager = managerOf(temporaryRepository(modelsOf(1, idle)), { clock })
    await use(manager, 'm0')
    clock.advance(900)
    await use(manager, 'm0')
    clock.advance(900)
    expect(manager.get('m0').versions[0]?.state).toBe('ready')
    clock.advance(100)
    await expect.poll(() => manager.get('m0').versions[0]?.state).toBe('unloaded')
    await use(manager, 'm0')
    expect(manager.get('m0').versions[0]?.state).toBe('ready')
  })

  it('leaves a model with a request under way', async () => {
    const clock = new ManualClock()
    const manager = managerOf(temporaryRepository(modelsOf(1, idle)), { clock })
    const lease = await manager.lease('m0')
    clock.advance(5000)
    for (let i = 0; i < 10; i++) await setImmediate()
    expect(manager.get('m0').versions[0]?.state).toBe('ready')
    lease.release()
    clock.advance(1000)
    await expect.poll(() => manager.get('m0').versions[0]?.state).toBe('unloaded')
  })

  it('is refused for a model that is not lazy', async () => {
    const manager = managerOf(temporaryRepository(modelsOf(1, { idleUnloadMs: 1000 })), {})
    await expect(manager.ready()).rejects.toThrow('idleUnloadMs needs lazy: true')
  })
})

describe('a request for a model on its way out', () => {
  it('waits, and is answered by the model loaded anew', async () => {
    const manager = managerOf(temporaryRepository(modelsOf(2)), { maxLoadedModels: 1 })
    await use(manager, 'm0')
    for (let i = 0; i < 10; i++)
      await Promise.all([use(manager, 'm1'), use(manager, 'm0'), use(manager, 'm1')])
  })
})

describe('room', () => {
  class Model implements Resident {
    isLoaded = false
    isBusy = false
    lastUse = 0
    constructor(readonly isEvictable = true) {}
    get residentBytes() {
      return this.isLoaded ? 10 : 0
    }
    async evict() {
      this.isLoaded = false
    }
  }

  async function load(residency: Residency, model: Model): Promise<void> {
    const ended = await residency.admit(model, 'm@1', 10)
    model.isLoaded = true
    ended()
  }

  it('is not made by what is kept, such as by a label', async () => {
    const residency = new Residency({ maxLoadedModels: 2 })
    const [kept, old, late] = [new Model(false), new Model(), new Model()]
    for (const model of [kept, old, late]) await load(residency, model)
    expect([kept, old, late].map(({ isLoaded }) => isLoaded)).toEqual([true, false, true])
  })

  it('costs no model anything where all that may go is not enough', async () => {
    const residency = new Residency({ memoryLimitBytes: 45 })
    const [kept, old, large] = [new Model(false), new Model(), new Model()]
    for (const model of [kept, old]) await load(residency, model)
    await expect(residency.admit(large, 'large@1', 20)).rejects.toThrow(
      'its load takes 40 bytes beside the 20 that are taken (memoryLimitBytes: 45)',
    )
    expect(old.isLoaded).toBe(true)
  })
})

/** Until a load waits for room, which sets a timer. */
async function untilTimers(clock: ManualClock): Promise<void> {
  await expect.poll(() => clock.timers).toBeGreaterThan(0)
}
