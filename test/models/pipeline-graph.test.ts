import { expect, it, onTestFinished } from 'vitest'
import { createServing, custom, pipeline, type AnyModel } from '../../src/index.js'
import { temporaryFolder } from '../execution/support.js'
import { quietLogger } from './quiet-logger.js'

const same = custom({ load: () => null, run: (_, rows) => rows })

it.each<[string, Record<string, AnyModel>, string]>([
  [
    'a stage that is no model',
    { detect: same, p: pipeline(['detct']) },
    'createServing(): models.p: its stage "detct" is no model. Did you mean "detect"?',
  ],
  [
    'a model that a function says it asks, and that is none',
    { p: pipeline(() => 1, { models: { other: same } }) },
    'createServing(): models.p: its stage "other" is no model.',
  ],
  ['a pipeline of itself', { p: pipeline(['p']) }, 'createServing(): pipelines that never end: p > p.'],
  [
    'pipelines of each other',
    { same, a: pipeline(['b']), b: pipeline(['same', 'c']), c: pipeline([{ model: 'b' }]) },
    'createServing(): pipelines that never end: b > c > b.',
  ],
])('createServing refuses %s', (_, models, message) => {
  expect(() => createServing({ models, logger: quietLogger() })).toThrow(message)
})

it('createServing takes a model that two pipelines ask, and leaves to a repository what it may have', async () => {
  const models = { same, a: pipeline(['same', 'same']), b: pipeline(['a', 'same', 'a']) }
  const serving = createServing({ models, logger: quietLogger() })
  onTestFinished(() => serving.close())
  expect((await serving.predict('b', { x: 1 })).prediction).toEqual({ x: 1 })
  const open = createServing({
    models: { p: pipeline(['x']) },
    repository: temporaryFolder(),
    logger: quietLogger(),
  })
  await open.close()
})
