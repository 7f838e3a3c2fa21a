import { beforeAll, describe, expect, it } from 'vitest'
import { IDENTITY_DTYPES } from '../onnx/models.js'
import { isUnderstoodByTheClient, type Traits } from './client-suite.js'
import { MLServer } from './mlserver.js'
import { mlserver } from './python-process.js'
import { servesBehindRemote, servingOf, urlOf } from './remote-suite.js'
import { numbers } from './samples.js'

const traits: Traits = {
  binary: false,
  jsonDtypes: IDENTITY_DTYPES,
  // Its codec of strings knows lists alone.
  stringShape: [4, 1],
  versions: [],
  hasStatistics: false,
}

describe.skipIf(mlserver === undefined)('MLServer', () => {
  let server: MLServer
  beforeAll(async () => {
    server = await MLServer.start(mlserver ?? '')
    return () => server[Symbol.asyncDispose]()
  })

  describe('asked by mlserving/client', () => {
    isUnderstoodByTheClient(() => server, traits)
  })

  describe('behind remote()', () => {
    servesBehindRemote(() => server, ['rest', 'grpc'], traits)

    it("fails as the server does, in the server's words", async () => {
      await using serving = servingOf(['failing'], { url: urlOf(server, 'rest'), retries: 0 })
      const asked = serving.infer('failing', { inputs: { x: numbers([1, 4]) } })
      await expect(asked).rejects.toThrow('the model is out of order')
    })
  })
})
