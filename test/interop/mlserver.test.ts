import { afterAll, beforeAll, describe } from 'vitest'
import { IDENTITY_DTYPES } from '../onnx/models.js'
import { isUnderstoodByTheClient } from './client-suite.js'
import { MLServer } from './mlserver.js'
import { clients } from './python-process.js'

describe.skipIf(clients === undefined)('MLServer', () => {
  let server: MLServer
  beforeAll(async () => {
    server = await MLServer.start(clients ?? '')
  })
  afterAll(() => server[Symbol.asyncDispose]())

  describe('asked by mlserving/client', () => {
    isUnderstoodByTheClient(() => server, {
      binary: false,
      jsonDtypes: IDENTITY_DTYPES,
      // Its codec of strings knows lists alone.
      stringShape: [4, 1],
      versions: [],
      hasStatistics: false,
    })
  })
})
