import { describe } from 'vitest'
import { startOurs } from './our-server.js'
import { clients } from './python-process.js'
import { speaksTheProtocol } from './protocol-suite.js'

describe.skipIf(clients === undefined).each(['Express 5', 'Fastify 5'])('mlserving in %s', (framework) => {
  speaksTheProtocol(['http'], () => startOurs(framework))
})
