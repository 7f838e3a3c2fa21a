import { afterAll, beforeAll, describe } from 'vitest'
import { IDENTITY_DTYPES } from '../onnx/models.js'
import { isUnderstoodByTheClient } from './client-suite.js'
import { clients } from './python-process.js'
import { speaksTheProtocol } from './protocol-suite.js'
import { hasTriton, TritonServer } from './triton-server.js'

describe.skipIf(!hasTriton)('Triton Inference Server', () => {
  let server: TritonServer
  beforeAll(async () => {
    server = await TritonServer.start()
  })
  afterAll(() => server[Symbol.asyncDispose]())

  // What the tests of our servers take for granted is what Triton does.
  describe.skipIf(clients === undefined)('asked by tritonclient', () => {
    speaksTheProtocol(['http', 'grpc'], () => server)
  })

  describe('asked by mlserving/client', () => {
    isUnderstoodByTheClient(() => server, {
      binary: true,
      jsonDtypes: IDENTITY_DTYPES.filter((dtype) => dtype !== 'float16'),
      stringShape: [4, 3],
      versions: ['1'],
      hasStatistics: true,
    })
  })
})
