// Tests of the example app without a model and without onnxruntime: node --test examples/app
// #region test
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { scored, ServingError } from 'mlserving'
import { stubServing } from 'mlserving/testing'
import { moodOf } from './mood.js'

/** @typedef {typeof import('./serving.js').serving} AppServing */

test('a mood is what the model is sure of', async () => {
  /** @type {AppServing} */
  const serving = stubServing({
    sentiment: ({ text }) => scored('positive', text.includes('love') ? 0.9 : 0.5),
  })
  assert.equal(await moodOf(serving.model('sentiment'), 'I love it'), 'positive')
  assert.equal(await moodOf(serving.model('sentiment'), 'I saw it'), 'unsure')
  await serving.close()
})

test('a model that is busy costs the mood, not the page', async () => {
  /** @type {AppServing} */
  const serving = stubServing({ sentiment: new ServingError('QUEUE_FULL', 'busy') })
  assert.equal(await moodOf(serving.model('sentiment'), 'I love it'), 'unknown')
  await serving.close()
})
// #endregion
