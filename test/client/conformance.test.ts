import { createServer } from 'node:http'
import { createServing, type AnyModel } from 'mlserving'
import { InferenceClient } from 'mlserving/client'
import { mlServing } from 'mlserving/express'
import { grpcServer, type GrpcServer } from 'mlserving/grpc'
import { remote, type RemoteAccess } from 'mlserving/remote'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { AnyServing } from '../../src/serving.js'
import type { Feeds, Tensor } from '../../src/tensor/tensor.js'
import { toRaw } from '../../src/v2/raw-tensor.js'
import { listen, type RunningHost } from '../contract/hosts.js'
import { asAny } from '../contract/serving.js'
import { temporaryFolder } from '../execution/support.js'
import { quietLogger } from '../models/quiet-logger.js'
import { writeInto } from '../models/temporary-repository.js'
import { identityModel } from '../onnx/models.js'
import { conformanceModels, finite, runtimeAnswers } from '../v2/conformance-cases.js'

const models = conformanceModels()
const folder = temporaryFolder()
let origin: AnyServing
let host: RunningHost
let grpc: GrpcServer
/** Servings whose models lie on the first one, by how they reach it. */
const remotes: AnyServing[] = []

/** How a model is asked: each gives the outputs of an input `x`. */
type Way = (model: string, inputs: Feeds) => Promise<Feeds>
const ways: Record<string, { readonly isJson: boolean; ask?: Way; count: number }> = {
  'the client, in bytes': { isJson: false, count: 0 },
  'the client, in JSON': { isJson: true, count: 0 },
  'remote() over REST, in bytes': { isJson: false, count: 0 },
  'remote() over REST, in JSON': { isJson: true, count: 0 },
  'remote() over gRPC': { isJson: false, count: 0 },
}

function set(way: string, ask: Way): void {
  const entry = ways[way] ?? expect.fail()
  entry.ask = ask
}

async function setRemote(way: string, access: Omit<RemoteAccess, 'model'>): Promise<void> {
  const definitions: Record<string, AnyModel> = {}
  const options = { healthIntervalMs: 0, maxQueueRows: 200_000, ...access }
  for (const { name } of models) definitions[name] = remote({ model: name, ...options })
  const serving = asAny(createServing({ models: definitions, logger: quietLogger() }))
  remotes.push(serving)
  await serving.ready()
  set(way, async (model, inputs) => (await serving.infer(model, { inputs })).outputs)
}

beforeAll(async () => {
  for (const { name, dtype, shape } of models) {
    writeInto(folder, `${name}/1/model.onnx`, identityModel({ dtype, shape }))
    writeInto(folder, `${name}/model.json`, { placement: 'inline', maxQueueRows: 200_000 })
  }
  origin = asAny(createServing({ repository: folder, logger: quietLogger() }))
  await origin.ready()
  const handler = mlServing(origin)
  host = await listen(createServer((req, res) => handler(req, res, () => res.writeHead(404).end())))
  grpc = grpcServer(origin, { host: '127.0.0.1', port: 0 })
  const grpcUrl = `127.0.0.1:${await grpc.listen()}`
  for (const binary of [true, false]) {
    const client = new InferenceClient({ url: host.origin, binary })
    const how = binary ? 'in bytes' : 'in JSON'
    set(`the client, ${how}`, async (model, inputs) => (await client.infer(model, { inputs })).outputs)
    await setRemote(`remote() over REST, ${how}`, { url: host.origin, binary })
  }
  await setRemote('remote() over gRPC', { url: grpcUrl, protocol: 'grpc' })
}, 60_000)
afterAll(async () => {
  for (const serving of remotes) await serving.close()
  await grpc.close()
  await host[Symbol.asyncDispose]()
  await origin.close()
  const counts = Object.entries(ways).map(([way, { count }]) => `${way} ${count}`)
  console.log(`conformance of the client: ${counts.join('; ')}`)
})

describe.each(Object.keys(ways))('%s', (way) => {
  test.each(models)('answers what the runtime does, bit for bit: $name', async ({ name, dtype, tensors }) => {
    const entry = ways[way] ?? expect.fail()
    const { ask = expect.fail() } = entry
    const given = entry.isJson ? tensors.map(finite) : tensors
    const expected = await runtimeAnswers(`${folder}/${name}/1/model.onnx`, given)
    for (const [i, x] of given.entries()) {
      const right = expected[i] ?? expect.fail()
      const { y } = await ask(name, { x })
      expect(y).toMatchObject({ dtype, shape: right.shape })
      // At once, since of so many elements each assertion would take its time.
      expect(bytesOf(y ?? expect.fail()).equals(bytesOf(right)), `shape ${x.shape.join()}`).toBe(true)
      entry.count++
    }
  })
})

function bytesOf(tensor: Tensor): Buffer {
  return Buffer.from(toRaw(tensor))
}
