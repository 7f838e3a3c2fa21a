import { describe } from 'vitest'
import { clients } from './python-process.js'
import { speaksTheProtocol } from './protocol-suite.js'
import { hasTriton, TritonServer } from './triton-server.js'

// What the tests of our servers take for granted is what Triton does.
describe.skipIf(clients === undefined || !hasTriton)('Triton Inference Server', () => {
  speaksTheProtocol(['http', 'grpc'], () => TritonServer.start())
})
