import { createServer } from 'node:http'
import express from 'express'
import { createServing } from 'mlserving'
import { float32, InferenceClient, InferenceError, type InferResponse } from 'mlserving/client'
import { mlServing } from 'mlserving/express'
import { afterAll, expect, test } from 'vitest'
import { listen } from '../contract/hosts.js'
import { temporaryFolder } from '../execution/support.js'
import { writeInto } from '../models/temporary-repository.js'
import { identityModel } from '../onnx/models.js'

const repository = temporaryFolder()
writeInto(repository, 'churn/1/model.onnx', identityModel())
const serving = createServing({ repository })
await serving.ready()
const host = await listen(createServer(express().use(mlServing(serving))))
const { origin: url } = host
afterAll(async () => {
  await host[Symbol.asyncDispose]()
  await serving.close()
})
const signal = new AbortController().signal
const wait = async (_: number) => {}

// #region infer
const client = new InferenceClient({ url }) // 'http://localhost:8000', say

const { outputs, modelVersion } = await client.infer(
  'churn',
  { inputs: { x: float32([0.2, 0.5, 0.9], [1, 3]) }, outputs: { y: 'float32' } },
  { signal, timeoutMs: 500 },
)
console.log(outputs.y.data) // a Float32Array: its dtype was asked for, and is checked
// #endregion

// #region about
await client.serverReady() // true
await client.modelReady('churn', { version: '7' }) // false: there is none
const { versions, inputs } = await client.modelMetadata('churn')
console.log(versions, inputs) // ['1'] [{ name: 'x', datatype: 'FP32', shape: [-1, 3] }]
await client.statistics('churn')
// #endregion

// #region errors
async function answer(model: string): Promise<InferResponse | undefined> {
  try {
    return await client.infer(model, { inputs: { x: float32([1, 2, 3], [1, 3]) } })
  } catch (error) {
    if (!InferenceError.is(error)) throw error
    if (error.status === 404) return undefined // error.serverMessage says why
    if (InferenceError.is(error, 'TIMEOUT', 'CONNECTION_FAILED')) await wait(error.retryAfterMs ?? 1000)
    throw error
  }
}
// #endregion

test('the code of docs/client.md does what its comments say', async () => {
  expect(outputs.y.data).toEqual(Float32Array.of(0.2, 0.5, 0.9))
  expect(modelVersion).toBe('1')
  expect(await client.serverReady()).toBe(true)
  expect(await client.modelReady('churn', { version: '7' })).toBe(false)
  expect(versions).toEqual(['1'])
  expect(inputs).toEqual([{ name: 'x', datatype: 'FP32', shape: [-1, 3] }])
  expect(await answer('churn')).toMatchObject({ modelName: 'churn' })
  expect(await answer('none')).toBeUndefined()
})
