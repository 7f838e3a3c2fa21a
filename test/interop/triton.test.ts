import { beforeAll, describe } from 'vitest'
import { IDENTITY_DTYPES } from '../onnx/models.js'
import { isUnderstoodByTheClient, type Traits } from './client-suite.js'
import { listen } from './our-server.js'
import { tritonClient, triton } from './python-process.js'
import { speaksTheProtocol } from './protocol-suite.js'
import { modelNames, servesBehindRemote, servingOf, urlOf } from './remote-suite.js'
import type { Subject } from './subject.js'
import { TritonServer } from './triton-server.js'

const traits: Traits = {
  binary: true,
  jsonDtypes: IDENTITY_DTYPES.filter((dtype) => dtype !== 'float16'),
  stringShape: [4, 3],
  versions: ['1'],
  hasStatistics: true,
}

describe.skipIf(triton === undefined)('Triton Inference Server', () => {
  let server: TritonServer
  beforeAll(async () => {
    if (triton === undefined) return
    server = await TritonServer.start(triton)
    return () => server[Symbol.asyncDispose]()
  })

  // What the tests of our servers take for granted is what Triton does.
  describe.skipIf(tritonClient === undefined)('asked by tritonclient', () => {
    speaksTheProtocol(['http', 'grpc'], () => server)
  })

  describe('asked by mlserving/client', () => {
    isUnderstoodByTheClient(() => server, traits)
  })

  describe('behind remote()', () => {
    servesBehindRemote(() => server, ['rest', 'grpc'], traits)
  })

  describe.skipIf(tritonClient === undefined)('asked by tritonclient through mlserving', () => {
    let subject: Subject
    beforeAll(async () => {
      subject = await listen('Fastify 5', servingOf(modelNames, { url: urlOf(server, 'rest') }))
      return () => subject[Symbol.asyncDispose]()
    })
    speaksTheProtocol(['http', 'grpc'], () => subject)
  })
})
