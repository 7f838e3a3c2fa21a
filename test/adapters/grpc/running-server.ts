import { createServing } from 'mlserving'
import { grpcServer, type GrpcOptions, type GrpcServer } from 'mlserving/grpc'
import { onTestFinished } from 'vitest'
import type { AnyServing } from '../../../src/serving.js'
import { asAny } from '../../contract/serving.js'
import { quietLogger } from '../../models/quiet-logger.js'
import { temporaryRepository } from '../../models/temporary-repository.js'
import { identityModel, loopModel } from '../../onnx/models.js'
import { clientOf, float32Bytes, input, type TestClient } from './client.js'

export const logger = quietLogger()
/** Serves `m`, the identity; `slow`, which takes a second; and what else is given. */
export async function start(
  options: GrpcOptions = {},
  files: Record<string, string | Uint8Array | object> = {},
): Promise<{ serving: AnyServing; server: GrpcServer; client: TestClient; port: number }> {
  const repository = temporaryRepository({ 'm/1/model.onnx': identityModel(), ...files })
  const serving = asAny(createServing({ repository, logger }))
  onTestFinished(() => serving.close())
  await serving.ready()
  const server = grpcServer(serving, { port: 0, ...options })
  onTestFinished(() => server.close())
  const port = await server.listen()
  return { serving, server, client: clientOf(port), port }
}

export const request = {
  model_name: 'm',
  inputs: [input('x', 'FP32', [1, 3])],
  raw_input_contents: [float32Bytes(1, 2, 3)],
}
export const slow = {
  model_name: 'slow',
  inputs: [input('x', 'FP32', [1, 4])],
  raw_input_contents: [float32Bytes(1, 2, 3, 4)],
}
export const slowModel = {
  'slow/1/model.onnx': loopModel({ ms: 300 }),
  'slow/model.json': { placement: 'thread', instances: 1, batching: { maxBatchSize: 1 }, maxQueueRows: 2 },
}

/** A figure of the slow model. */
export async function metric(serving: AnyServing, name: string): Promise<number> {
  const { body } = await serving.metrics.exposition()
  return Number(new RegExp(`^${name}\\{.*"slow".*\\} (.*)$`, 'm').exec(body)?.[1])
}
