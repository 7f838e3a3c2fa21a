import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { createServing, custom, type ModelChange } from '../../src/index.js'
import { quietLogger } from './quiet-logger.js'

/** A model with versions 1 and 2, of which the second answers as `second` does. */
async function served(second: (row: number) => number, options: { lazy?: boolean } = {}) {
  const source = mkdtempSync(join(tmpdir(), 'mlserving-'))
  onTestFinished(() => rmSync(source, { recursive: true }))
  for (const version of ['1', '2']) mkdirSync(join(source, version))
  const serving = createServing({
    logger: quietLogger(),
    models: {
      m: custom({
        source,
        current: '1',
        ...options,
        load: ({ version }) => version,
        run: (version, rows: number[]) => rows.map((row) => (version === '2' ? second(row) : row)),
      }),
    },
  })
  onTestFinished(() => serving.close())
  await serving.ready()
  const changes: ModelChange[] = []
  serving.models.onChange((change) => changes.push(change))
  const { models } = serving

  /** Asks until the rollout is over. @returns how many requests the new version answered or failed at */
  const ask = async () => {
    let asked = 0
    for (let i = 0; i < 50_000; i++) {
      const phase = models.rolloutOf('m')?.phase
      if (phase !== 'running' && phase !== 'promoting') return asked
      const answer = await serving.predict('m', i).catch(() => undefined)
      if (answer?.meta.version !== '1') asked++
    }
    throw new Error(`still ${models.rolloutOf('m')?.phase ?? ''}`)
  }
  return { serving, models, changes, ask, source }
}

const quick = { version: '2', steps: [50, 100], minRequests: 50, minStepMs: 0, significance: 0.05 }

describe('a rollout of a served model', () => {
  it('takes a version that fails back at once, and puts it into quarantine', async () => {
    const { models, changes, ask } = await served(() => {
      throw new Error('broken')
    })
    await models.startRollout('m', quick, { actor: 'ann' })
    expect(models.get('m')).toMatchObject({ current: '1' })
    expect(await ask()).toBeLessThan(100)
    expect(models.rolloutOf('m')).toMatchObject({ phase: 'rolled-back', version: '2' })
    await expect.poll(() => models.get('m').canary).toBeUndefined()
    const [version] = models.get('m').versions
    expect(version).toMatchObject({
      version: '2',
      quarantined: expect.stringContaining('requests failed') as string,
    })
    await expect(models.switchVersion('m', '2')).rejects.toMatchObject({ code: 'CONFLICT' })
    await expect(models.startRollout('m', quick)).rejects.toThrow('is in quarantine')
    expect(changes.map(({ actor, action }) => `${actor} ${action}`)).toEqual(
      expect.arrayContaining(['ann rollout', 'rollout rollout', 'rollout quarantine']),
    )

    await models.release('m', '2')
    await models.switchVersion('m', '2')
    expect(models.get('m').current).toBe('2')
  })

  it('makes a version that is as good the one that serves', async () => {
    const { models, ask } = await served((row) => row)
    await models.startRollout('m', { ...quick, guards: { errorRatio: { maxIncrease: 0.2 } } })
    await ask()
    await expect.poll(() => models.rolloutOf('m')?.phase).toBe('promoted')
    expect(models.get('m')).toMatchObject({ current: '2' })
    expect(models.get('m').canary).toBeUndefined()
  })

  it('is ended by an operator, and leaves the version as it was', async () => {
    const { serving, models, changes } = await served((row) => row)
    await models.startRollout('m', { ...quick, minRequests: 10_000 })
    await expect(models.startRollout('m', quick)).rejects.toThrow('has a rollout of version 2 under way')
    const ended = await models.abortRollout('m', { actor: 'ann', reason: 'changed our minds' })
    expect(ended).toMatchObject({ phase: 'aborted' })
    expect(changes).toContainEqual(
      expect.objectContaining({ actor: 'ann', action: 'rollout', reason: 'changed our minds' }),
    )
    await expect(models.abortRollout('m')).rejects.toMatchObject({ code: 'CONFLICT' })
    await expect.poll(() => models.get('m').canary).toBeUndefined()
    expect((await serving.predict('m', 1)).meta.version).toBe('1')
    expect(models.get('m').versions.every(({ quarantined }) => quarantined === undefined)).toBe(true)
  })

  it('is refused for options that make no sense, and for the version that serves', async () => {
    const { models } = await served((row) => row)
    await expect(models.startRollout('m', { version: '1' })).rejects.toMatchObject({ code: 'CONFLICT' })
    await expect(models.startRollout('m', { version: '2', steps: [50, 20] })).rejects.toMatchObject({
      code: 'INVALID_OPTIONS',
    })
    await expect(models.startRollout('m', { version: '9' })).rejects.toMatchObject({
      code: 'VERSION_NOT_FOUND',
    })
  })
})

describe('a quarantine', () => {
  it('of the version that serves brings the one before it back', async () => {
    const { models } = await served((row) => row)
    await models.switchVersion('m', '2')
    expect(await models.quarantine('m', '2', 'wrong answers')).toMatchObject({ current: '1' })
    await expect(models.canary('m', { version: '2', percent: 5 })).rejects.toThrow('in quarantine')
    await expect(models.setLabel('m', 'stable', '2')).rejects.toThrow('in quarantine')
    await expect(models.release('m', '1')).rejects.toThrow('in no quarantine')
  })
})

describe('a rollout beside other changes', () => {
  const endless = { ...quick, minRequests: 100_000 }

  it('has the canary and the shadow to itself', async () => {
    const { models } = await served((row) => row)
    await models.startRollout('m', { ...endless, guards: { agreement: { min: 0.9 } } })
    await expect.poll(() => models.get('m').shadow).toBeDefined()
    const refused = 'model "m" has a rollout of version 2 under way: abort it first.'
    for (const change of [
      models.canary('m', { version: '2', percent: 1 }),
      models.endCanary('m'),
      models.shadow('m', { version: '2', fraction: 1 }),
      models.endShadow('m'),
    ]) {
      await expect(change).rejects.toMatchObject({ code: 'CONFLICT', message: refused })
    }
    await models.abortRollout('m')
    await models.canary('m', { version: '2', percent: 1 })
    await expect.poll(() => models.get('m').shadow).toBeUndefined()
  })

  it('does not begin where another version is the canary', async () => {
    const { models, source } = await served((row) => row)
    mkdirSync(join(source, '3'))
    await models.canary('m', { version: '3', percent: 1 })
    await expect(models.startRollout('m', quick)).rejects.toThrow(
      'version 3 is the canary of "m": end that first',
    )
    expect(models.get('m').canary).toEqual({ version: '3', percent: 1 })
  })

  it('leaves a shadow that is not its own, be it of another version or of this', async () => {
    const { models, source } = await served((row) => row)
    mkdirSync(join(source, '3'))
    for (const [version, guards] of [
      ['3', { errorRatio: { maxIncrease: 0.1 } }],
      ['2', { agreement: { min: 0.9 } }],
    ] as const) {
      await models.shadow('m', { version, fraction: 0.5 })
      await models.startRollout('m', { ...endless, guards })
      await models.abortRollout('m')
      await expect.poll(() => models.get('m').canary).toBeUndefined()
      expect(models.get('m').shadow).toMatchObject({ version, fraction: 0.5 })
      await models.endShadow('m')
    }
  })

  it('ends when somebody puts its version into quarantine, or unloads the model', async () => {
    const { models } = await served((row) => row)
    await models.startRollout('m', endless)
    await models.quarantine('m', '2', 'wrong answers')
    expect(models.rolloutOf('m')).toMatchObject({
      phase: 'rolled-back',
      reason: 'it was put in quarantine: wrong answers',
    })
    await models.release('m', '2')
    await models.startRollout('m', endless)
    await models.unload('m')
    expect(models.rolloutOf('m')).toMatchObject({ phase: 'aborted', reason: 'the model was unloaded' })
  })

  it('tells of its steps and its end with all that is known, and the metrics count them', async () => {
    const { serving, models, changes, ask } = await served(() => {
      throw new Error('broken')
    })
    await models.startRollout('m', quick)
    await ask()
    const told = changes.flatMap(({ rollout }) => rollout ?? [])
    expect(told).toMatchObject([
      { event: 'step', version: '2', step: 1, percent: 50 },
      { event: 'rolled-back', guard: 'errorRatio', figures: { candidate: { failures: expect.any(Number) } } },
    ])
    const { body } = await serving.metrics.exposition()
    expect(body).toContain('model_rollouts_total{model="m",model_version="2",result="rolled-back"} 1')
  })
})

describe('a rollout with validate', () => {
  const cases = [1, 2, 3].map((input) => ({ input, expected: input }))

  it('begins with a version that passes', async () => {
    const { models } = await served((row) => row)
    await models.startRollout('m', { ...quick, validate: { cases } })
    expect(models.rolloutOf('m')).toMatchObject({ phase: 'running' })
    expect(models.get('m').versions[0]).toMatchObject({ version: '2', state: 'ready' })
  })

  it('refuses one that fails, which has no request then', async () => {
    const { models, changes } = await served((row) => row + 1)
    const refused = models.startRollout('m', { ...quick, validate: { cases } }, { actor: 'ann' })
    await expect(refused).rejects.toMatchObject({ code: 'VALIDATION_FAILED' })
    expect(models.rolloutOf('m')).toBeUndefined()
    expect(models.get('m').canary).toBeUndefined()
    expect(models.get('m').versions[0]).toMatchObject({ version: '2', state: 'unloaded' })
    expect(changes).toMatchObject([{ actor: 'ann', action: 'rollout', to: '2', result: 'failed' }])
  })
})

it('a rollout of a lazy model loads it first', async () => {
  const { serving, models } = await served((row) => row, { lazy: true })
  await models.startRollout('m', quick)
  await expect.poll(() => models.get('m').canary).toEqual({ version: '2', percent: 50 })
  expect(models.get('m').current).toBe('1')
  await serving.predict('m', 1)
})

it.each([undefined, null, 5])('%j is no rollout', async (options) => {
  const { models } = await served((row) => row)
  await expect(models.startRollout('m', options as never)).rejects.toMatchObject({ code: 'INVALID_OPTIONS' })
})
