import { createServer } from 'node:http'
import express from 'express'
import { createServing, onnx, type Json, type Model } from 'mlserving'
import { mlServing } from 'mlserving/express'
import type { AnyServing } from '../../src/serving.js'
import { asAny } from '../contract/serving.js'
import { listen, type RunningHost } from '../contract/hosts.js'
import { quietLogger } from '../models/quiet-logger.js'
import { identityModel } from '../onnx/models.js'
import { dtypes } from './dtype-samples.js'

/** A serving, ready, with a model for each dtype, named as that, whose `y` [n, 3] is its `x`. */
export async function servingOfDtypes(): Promise<AnyServing> {
  const models: Record<string, Model<Json, unknown>> = {}
  for (const dtype of dtypes) {
    models[dtype] = onnx({ source: identityModel({ dtype, shape: ['n', 3] }), placement: 'inline' })
  }
  const serving = createServing({ models, logger: quietLogger() })
  await serving.ready()
  return asAny(serving)
}

/** The same over HTTP. */
export async function serveDtypes(): Promise<RunningHost> {
  const serving = await servingOfDtypes()
  const app = express().use('/ml', mlServing(serving, { admin: { token: 'secret-of-the-test' } }))
  const host = await listen(createServer(app))
  return {
    origin: `${host.origin}/ml`,
    [Symbol.asyncDispose]: async () => {
      await host[Symbol.asyncDispose]()
      await serving.close()
    },
  }
}
