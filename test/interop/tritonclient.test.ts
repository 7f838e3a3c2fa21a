import { afterAll, beforeAll, describe } from 'vitest'
import { startOurs } from './our-server.js'
import { isOurOwn } from './our-suite.js'
import { clients } from './python-process.js'
import { speaksTheProtocol } from './protocol-suite.js'
import type { Subject } from './subject.js'
import type { Transport } from './triton-client.js'

describe.skipIf(clients === undefined).each(['Express 5', 'Fastify 5'])('mlserving in %s', (framework) => {
  // Once is enough of what frameworks have no part in.
  const transports: Transport[] = framework === 'Express 5' ? ['http', 'grpc'] : ['http']
  let subject: Subject
  beforeAll(async () => {
    subject = await startOurs(framework)
  })
  afterAll(() => subject[Symbol.asyncDispose]())

  speaksTheProtocol(
    transports,
    () => subject,
    (client) => isOurOwn(client, () => subject),
  )
})
