import { createServer } from 'node:http'
import express from 'express'
import { createServing, onnx, type AnyModel } from 'mlserving'
import { mlServing } from 'mlserving/express'
import { listen, type RunningHost } from '../contract/hosts.js'
import { quietLogger } from '../models/quiet-logger.js'
import { identityModel } from '../onnx/models.js'
import { dtypes } from './dtype-samples.js'

/** A serving over HTTP with a model for each dtype, named as that, whose `y` [n, 3] is its `x`. */
export async function serveDtypes(): Promise<RunningHost> {
  const models: Record<string, AnyModel> = {}
  for (const dtype of dtypes) {
    models[dtype] = onnx({ source: identityModel({ dtype, shape: ['n', 3] }), placement: 'inline' })
  }
  const serving = createServing({ models, logger: quietLogger() })
  await serving.ready()
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
