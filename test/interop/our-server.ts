import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createServing } from 'mlserving'
import { grpcServer } from 'mlserving/grpc'
import { hosts } from '../contract/hosts.js'
import { asAny } from '../contract/serving.js'
import { quietLogger } from '../models/quiet-logger.js'
import { writeInto } from '../models/temporary-repository.js'
import { IDENTITY_DTYPES, identityModel, loopModel, twoInputs } from '../onnx/models.js'
import type { AnyServing } from '../../src/serving.js'
import type { Subject } from './subject.js'
import type { Transport } from './triton-client.js'

export const exampleModels = fileURLToPath(new URL('../../examples/models/', import.meta.url))

/** By their names in the contract. */
export const frameworks = ['Express 5', 'Fastify 5'] as const

type Framework = (typeof frameworks)[number]

/** What is asked of a framework's server: once is enough of gRPC, which is the same beside each. */
export function transportsOf(framework: Framework): readonly Transport[] {
  return framework === 'Express 5' ? ['http', 'grpc'] : ['http']
}

/** A path that the server is mounted at as well. */
export const below = 'api/models'

const token = 'a token of the tests'.replaceAll(' ', '-')

/**
 * Serves, ready, in a framework and over gRPC: `identity_<dtype>` (x, y: [batch, 3]),
 * `pair`, `slow` (1 s), and the examples.
 * @param models further ones, as `.onnx` files by name
 */
export async function startOurs(
  framework: Framework,
  models: Readonly<Record<string, Uint8Array>> = {},
): Promise<Subject> {
  const folder = mkdtempSync(join(tmpdir(), 'mlserving-'))
  for (const dtype of IDENTITY_DTYPES) {
    writeInto(folder, `identity_${dtype}/1/model.onnx`, identityModel({ dtype }))
  }
  writeInto(folder, 'pair/1/model.onnx', twoInputs())
  writeInto(folder, 'slow/1/model.onnx', loopModel({ ms: 1000 }))
  for (const [name, model] of Object.entries(models)) writeInto(folder, `${name}/1/model.onnx`, model)
  cpSync(exampleModels, folder, { recursive: true })

  const serving = createServing({ repository: folder, logger: quietLogger() })
  const subject = await listen(framework, asAny(serving))
  return {
    ...subject,
    [Symbol.asyncDispose]: async () => {
      await subject[Symbol.asyncDispose]()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** Lets a serving, once it is ready, be asked over HTTP and gRPC, and closes it with them. */
export async function listen(framework: Framework, serving: AnyServing): Promise<Subject> {
  const host = hosts.find(({ name }) => name === framework)
  if (host === undefined) throw new Error(`there is no ${framework}`)
  await serving.ready()
  const admin = { token }
  const http = await host.start(serving, { admin, also: [{ prefix: `/${below}` }] })
  const grpc = grpcServer(serving, { port: 0, admin })
  const grpcPort = await grpc.listen()
  return {
    addresses: { http: http.origin.replace('http://', ''), grpc: `127.0.0.1:${grpcPort}` },
    administrator: { authorization: `Bearer ${token}` },
    [Symbol.asyncDispose]: async () => {
      await http[Symbol.asyncDispose]()
      await grpc.close()
      await serving.close()
    },
  }
}
