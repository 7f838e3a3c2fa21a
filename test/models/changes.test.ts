import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { createServing, type ModelChange } from 'mlserving'
import { ModelManager } from '../../src/models/manager.js'
import { mlp } from '../onnx/models.js'
import { quietLogger } from './quiet-logger.js'
import { temporaryRepository } from './temporary-repository.js'

const files = {
  'm/1/model.onnx': mlp(),
  'm/2/model.onnx': mlp(),
  'm/3/model.onnx': 'no model',
  'm/model.json': { current: '1' },
}

async function listening() {
  const logger = quietLogger()
  const manager = new ModelManager({ logger })
  onTestFinished(() => manager.close())
  manager.start(temporaryRepository(files), new Map())
  await manager.ready()
  const changes: ModelChange[] = []
  const end = manager.onChange((change) => changes.push(change))
  return { manager, logger, changes, end }
}

test('each load, switch, rollback and unload is told, with who asked for it, what for, and from and to what', async () => {
  const { manager, changes } = await listening()
  const before = Date.now()
  await manager.load('m', '2', { actor: 'ann', reason: 'a trial', requestId: 'r-1' })
  await manager.switchVersion('m', '2')
  await manager.rollback('m', { actor: 'bob' })
  await manager.unload('m', '2')
  await manager.load('m', '2', { activate: true })
  expect(changes).toEqual([
    {
      at: expect.any(Date),
      actor: 'ann',
      reason: 'a trial',
      requestId: 'r-1',
      action: 'load',
      model: 'm',
      to: '2',
      result: 'success',
    },
    {
      at: expect.any(Date),
      actor: 'code',
      action: 'switch',
      model: 'm',
      from: '1',
      to: '2',
      result: 'success',
    },
    {
      at: expect.any(Date),
      actor: 'bob',
      action: 'rollback',
      model: 'm',
      from: '2',
      to: '1',
      result: 'success',
    },
    { at: expect.any(Date), actor: 'code', action: 'unload', model: 'm', from: '2', result: 'success' },
    {
      at: expect.any(Date),
      actor: 'code',
      action: 'switch',
      model: 'm',
      from: '1',
      to: '2',
      result: 'success',
    },
  ])
  expect(changes[0]?.at.getTime()).toBeGreaterThanOrEqual(before)
})

test('a change that fails is told with its error', async () => {
  const { manager, changes } = await listening()
  await expect(manager.switchVersion('m', '3')).rejects.toMatchObject({ code: 'INVALID_MODEL' })
  await expect(manager.rollback('m')).rejects.toMatchObject({ code: 'CONFLICT' })
  await expect(manager.unload('m', '1')).rejects.toMatchObject({ code: 'CONFLICT' })
  await expect(manager.load('nobody', '1')).rejects.toMatchObject({ code: 'MODEL_NOT_FOUND' })
  expect(changes).toMatchObject([
    { action: 'switch', from: '1', to: '3', result: 'failed', error: { code: 'INVALID_MODEL' } },
    { action: 'rollback', from: '1', result: 'failed', error: { code: 'CONFLICT' } },
    { action: 'unload', from: '1', result: 'failed', error: { code: 'CONFLICT' } },
    { action: 'load', model: 'nobody', to: '1', result: 'failed', error: { code: 'MODEL_NOT_FOUND' } },
  ])
})

test('two switches at once say each what served before it', async () => {
  const { manager, changes } = await listening()
  await manager.load('m', '2')
  await Promise.all([manager.switchVersion('m', '2'), manager.switchVersion('m', '1')])
  expect(changes.slice(1)).toMatchObject([
    { from: '1', to: '2' },
    { from: '2', to: '1' },
  ])
})

test('the log has every change as one line', async () => {
  const { manager, logger } = await listening()
  await manager.switchVersion('m', '2', { actor: 'ann' })
  await manager.unload('m', '2').catch(() => {})
  const lines = logger.entries.filter(({ message }) => / of m /.test(message))
  expect(lines).toEqual([
    { level: 'info', message: 'switch of m from 1 to 2 by ann' },
    { level: 'info', message: expect.stringMatching(/^unload of m from 2 by code failed: m@2 serves/) },
  ])
})

test('a listener that throws disturbs neither the change nor other listeners', async () => {
  const { manager, logger, changes } = await listening()
  manager.onChange(() => {
    throw new Error('out of disk')
  })
  const last: ModelChange[] = []
  manager.onChange((change) => last.push(change))
  await manager.load('m', '2')
  expect(changes).toHaveLength(1)
  expect(last).toHaveLength(1)
  expect(logger.entries.filter(({ level }) => level === 'error')).toHaveLength(1)
})

test('a listener that was taken back is told nothing more', async () => {
  const { manager, changes, end } = await listening()
  end()
  await manager.load('m', '2')
  expect(changes).toEqual([])
})

test('changes are counted by model, action and result; a model that there is not is unknown', async () => {
  const serving = createServing({ repository: temporaryRepository(files), logger: quietLogger() })
  onTestFinished(() => serving.close())
  await serving.ready()
  await serving.models.switchVersion('m', '2')
  await serving.models.load('m', '3').catch(() => {})
  await serving.models.load('made-up', '1').catch(() => {})
  const { body } = await serving.metrics.exposition()
  expect(
    body
      .split('\n')
      .filter((line) => line.startsWith('model_changes_total'))
      .sort(),
  ).toEqual([
    'model_changes_total{model="m",action="load",result="failed"} 1',
    'model_changes_total{model="m",action="switch",result="success"} 1',
    'model_changes_total{model="unknown",action="load",result="failed"} 1',
  ])
})

test('a source given with a load of a new model is told as any load', async () => {
  const { manager, changes } = await listening()
  const folder = temporaryRepository({ 'a.onnx': mlp() })
  await manager.load('new', '1', { source: join(folder, 'a.onnx') })
  expect(changes).toMatchObject([{ action: 'load', model: 'new', to: '1', result: 'success' }])
  expect(JSON.stringify(changes)).not.toContain(folder)
})

test('a label, a canary and a shadow are told with what they were before', async () => {
  const { manager, changes } = await listening()
  await manager.setLabel('m', 'stable', '1')
  await manager.setLabel('m', 'stable', '2', { actor: 'ann' })
  await manager.removeLabel('m', 'stable')
  await manager.canary('m', { version: '2', percent: 5 })
  await manager.canary('m', { version: '2', percent: 25 })
  await manager.endCanary('m')
  await manager.shadow('m', { version: '2', fraction: 1 })
  await manager.endShadow('m')
  expect(
    changes.map(({ actor, action, label, percent, from, to }) => ({
      actor,
      action,
      label,
      percent,
      from,
      to,
    })),
  ).toMatchObject([
    { action: 'label', label: 'stable', from: undefined, to: '1' },
    { actor: 'ann', action: 'label', label: 'stable', from: '1', to: '2' },
    { action: 'label', label: 'stable', from: '2', to: undefined },
    { action: 'canary', percent: 5, from: undefined, to: '2' },
    { action: 'canary', percent: 25, from: '2', to: '2' },
    { action: 'canary', percent: undefined, from: '2', to: undefined },
    { action: 'shadow', from: undefined, to: '2' },
    { action: 'shadow', from: '2', to: undefined },
  ])
})

test('a quarantine of the version that serves is two changes: what serves since, and why', async () => {
  const { manager, changes } = await listening()
  await manager.switchVersion('m', '2')
  await manager.quarantine('m', '2', 'wrong answers', { actor: 'ann' })
  expect(changes.slice(1)).toMatchObject([
    { actor: 'ann', action: 'rollback', from: '2', to: '1', reason: 'wrong answers' },
    { actor: 'ann', action: 'quarantine', to: '2', reason: 'wrong answers' },
  ])
})

test('a listener that is async and fails costs the change nothing, and the process neither', async () => {
  const { manager, logger } = await listening()
  manager.onChange(async () => {
    throw new Error('the audit database is down')
  })
  await manager.load('m', '2')
  await expect
    .poll(() => logger.entries)
    .toContainEqual({ level: 'error', message: 'a listener of model changes failed' })
})

test.each([
  [{ validat: {} }, 'Did you mean "validate"?'],
  [{ validate: null }, 'validate must be an object'],
  [{ validate: {} }, 'cases is missing'],
  [{ validate: { cases: 5 } }, 'cases must be a list of cases'],
  [{ validate: { cases: [], minAcuracy: 1 } }, 'Did you mean "minAccuracy"?'],
  [{ actor: 5 }, 'actor must be'],
])('a switch with %j is refused rather than made without its gate', async (options, message) => {
  const { manager } = await listening()
  await expect(manager.switchVersion('m', '2', options as never)).rejects.toThrow(message)
  expect(manager.get('m').current).toBe('1')
})

test('a version that is a number is told to be no name', async () => {
  const { manager } = await listening()
  await expect(manager.load('m', 2 as never)).rejects.toMatchObject({
    code: 'INVALID_OPTIONS',
    message: expect.stringContaining("2 can't name a version: give a string"),
  })
})

test('a request that does not end holds up the unload of its version, and no rollback', async () => {
  const { manager } = await listening()
  await manager.switchVersion('m', '2')
  await manager.load('m', '1')
  const lease = await manager.lease('m', '1')
  const unloading = manager.unload('m', '1')
  await manager.rollback('m')
  expect(manager.get('m').current).toBe('1')
  lease.release()
  await unloading
  expect(manager.get('m').current).toBe('1')
})
