import { createServing } from 'mlserving'
import { afterAll, expect, test } from 'vitest'
import { temporaryFolder } from '../execution/support.js'
import { writeInto } from '../models/temporary-repository.js'
import { identityModel } from '../onnx/models.js'

const repository = temporaryFolder()
for (const version of ['1', '2', '3']) writeInto(repository, `churn/${version}/model.onnx`, identityModel())
writeInto(repository, 'churn/model.json', { current: '1', placement: 'inline' })
const serving = createServing({ repository })
afterAll(() => serving.close())
await serving.ready()
const input = { x: [1, 2, 3] }
const user = { id: 'user-1' }

// #region labels
await serving.models.setLabel('churn', 'candidate', '2') // loads version 2 beside the one that serves
const { meta } = await serving.predict('churn', input, { version: 'candidate' })
console.log(meta.version) // '2'
// #endregion

// #region canary
await serving.models.canary('churn', { version: '2', percent: 5 })
await serving.predict('churn', input, { key: user.id }) // of one user always by the same version

await serving.models.canary('churn', { version: '2', percent: 25 }) // the same users, and more
await serving.models.endCanary('churn') // all of them back, or:
await serving.models.switchVersion('churn', '2') // all of them to version 2
// #endregion

// #region shadow
await serving.models.shadow('churn', { version: '3', fraction: 0.1, compare: { tolerance: 0.01 } })
const { shadow } = serving.models.get('churn') // { version: '3', fraction: 0.1, agreed: 0, disagreed: 0, ... }
await serving.models.endShadow('churn')
// #endregion

// #region rollout
await serving.models.startRollout('churn', {
  version: '3',
  steps: [5, 25, 100],
  guards: {
    errorRatio: { maxIncrease: 0.01 }, // at most one point more of a hundred
    latency: { quantile: 0.95, maxRatio: 1.5 },
    agreement: { min: 0.98 }, // a quarter of the stable version's requests is copied to the new one
  },
})
serving.models.rolloutOf('churn') // { phase: 'running', step: 1, steps: 3, percent: 5, figures: { ... }, ... }
await serving.models.abortRollout('churn') // back to the stable version, without a quarantine
// #endregion

test('the code of docs/rollout.md does what its comments say', () => {
  expect(meta.version).toBe('2')
  expect(shadow).toMatchObject({ version: '3', fraction: 0.1, agreed: 0, disagreed: 0 })
  expect(serving.models.get('churn')).toMatchObject({ current: '2', labels: { candidate: '2' } })
})
