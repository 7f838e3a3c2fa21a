import { Registry } from 'prom-client'
import { createServing, custom } from 'mlserving'
import { expect, onTestFinished, test } from 'vitest'
import { quietLogger } from '../models/quiet-logger.js'
import { temporaryRepository } from '../models/temporary-repository.js'

function served(stateDir?: string, registry = new Registry()) {
  const serving = createServing({
    models: {
      m: custom({
        source: temporaryRepository({ '1/x': '', '2/x': '' }),
        current: '1',
        load: ({ version }) => version,
        run: (version, rows: number[]) => rows.map(() => version),
      }),
    },
    ...(stateDir !== undefined && { stateDir }),
    replicas: { intervalMs: 20, deadAfterIntervals: 1000 },
    registry,
    logger: quietLogger(),
  })
  onTestFinished(() => serving.close())
  const lines = async (name: string) => {
    const { body } = await serving.metrics.exposition()
    return body.split('\n').filter((line) => line.startsWith(name))
  }
  return { serving, models: serving.models, lines }
}

test('the step of a rollout is told while it is under way, and its end is counted by result', async () => {
  const { serving, models, lines } = served()
  await serving.ready()
  expect(await lines('model_rollout')).toEqual([])
  await models.startRollout('m', { version: '2' })
  expect(await lines('model_rollout_step')).toEqual(['model_rollout_step{model="m",model_version="2"} 1'])
  await models.abortRollout('m')
  expect(await lines('model_rollout')).toEqual([
    'model_rollouts_total{model="m",model_version="2",result="aborted"} 1',
  ])
})

test('over replicas only who leads a rollout counts it', async () => {
  const stateDir = temporaryRepository({})
  const [a, b] = [served(stateDir), served(stateDir)]
  await Promise.all([a.serving.ready(), b.serving.ready()])
  await a.models.startRollout('m', { version: '2' })
  await expect.poll(() => b.models.rolloutOf('m')?.phase).toBe('running')
  expect(await b.lines('model_rollout')).toEqual([])
  await b.models.abortRollout('m')
  await expect.poll(() => a.lines('model_rollouts_total')).toHaveLength(1)
  expect(await b.lines('model_rollouts_total')).toEqual([])
})

test('the generation is that of the state, the highest of several servings, and none where there is no state', async () => {
  const registry = new Registry()
  const [alone, a] = [served(), served(temporaryRepository({}), registry)]
  await a.serving.ready()
  expect(await alone.lines('model_state_generation')).toEqual([])
  expect(await a.lines('model_state_generation')).toEqual(['model_state_generation 0'])
  await a.models.setLabel('m', 'stable', '1')
  const other = served(temporaryRepository({}), registry)
  await other.serving.ready()
  expect(await other.lines('model_state_generation')).toEqual(['model_state_generation 1'])
})
