import { createServing } from 'mlserving'
import { remote } from 'mlserving/remote'
import { afterAll, expect, test } from 'vitest'
import { temporaryFolder } from '../execution/support.js'
import { writeInto } from '../models/temporary-repository.js'
import { identityModel } from '../onnx/models.js'
import { V2Server } from '../remote/v2-server.js'

const [triton, spare, newer] = [
  await V2Server.open(['2']),
  await V2Server.open(['2']),
  await V2Server.open(['3']),
]
const image = { x: [1, 2] }
const classes = ['cat', 'dog']

// #region remote
const serving = createServing({
  models: {
    vision: remote({ url: triton.url, model: 'm' }), // 'http://triton:8000', 'resnet50'
    animal: remote({
      urls: [triton.url, spare.url], // the second is asked while the first does not answer
      model: 'm',
      task: { type: 'classification', output: 'y', classes },
      cache: { ttlMs: 60_000 },
      timeoutMs: 2000,
    }),
  },
})
await serving.ready() // once the servers have said what the models take and give
const { prediction, meta } = await serving.predict('vision', image)
// #endregion

// #region versions
const shop = createServing({
  models: {
    ranking: remote({
      model: 'm',
      current: 'old',
      remoteVersions: {
        old: { urls: [triton.url], version: '2' },
        new: { urls: [newer.url], version: '3' },
      },
    }),
  },
})
await shop.ready()
await shop.models.canary('ranking', { version: 'new', percent: 5 })
await shop.models.switchVersion('ranking', 'new')
// #endregion

const here = `${temporaryFolder()}/ranking/7`
writeInto(here, 'model.onnx', identityModel({ shape: ['n', 2] }))

// #region local
const grown = createServing({
  models: {
    ranking: remote({
      model: 'm',
      current: 'here',
      remoteVersions: {
        here: { source: here }, // './models/ranking/7'
        triton: { urls: [triton.url], version: '2' },
      },
      local: { intraOpThreads: 1 },
    }),
  },
})
await grown.ready()
await grown.models.shadow('ranking', { version: 'triton', fraction: 0.1 })
await grown.models.canary('ranking', { version: 'triton', percent: 5 })
await grown.models.switchVersion('ranking', 'triton')
await grown.models.rollback('ranking') // to this process again
// #endregion

afterAll(async () => {
  await serving.close()
  await grown.close()
  await shop.close()
  await Promise.all([spare.stop(), newer.stop()])
})

test('the code of docs/remote.md does what its comments say', async () => {
  expect(prediction).toEqual([2, 4])
  expect(meta).toMatchObject({ model: 'vision', version: '2' })
  expect(await grown.predict('ranking', image)).toMatchObject({
    prediction: [1, 2],
    meta: { version: 'here' },
  })
  await triton.stop()
  expect((await serving.predict('animal', image)).prediction).toBe('dog')
  expect((await shop.predict('ranking', image)).meta.version).toBe('new')
})
