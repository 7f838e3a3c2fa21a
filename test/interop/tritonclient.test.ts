import { afterAll, beforeAll, describe } from 'vitest'
import { startOurs } from './our-server.js'
import { isOurOwn } from './our-suite.js'
import { clients } from './python-process.js'
import { speaksTheProtocol } from './protocol-suite.js'
import type { Subject } from './subject.js'

describe.skipIf(clients === undefined).each(['Express 5', 'Fastify 5'])('mlserving in %s', (framework) => {
  let subject: Subject
  beforeAll(async () => {
    subject = await startOurs(framework)
  })
  afterAll(() => subject[Symbol.asyncDispose]())

  speaksTheProtocol(
    ['http'],
    () => subject,
    (client) => isOurOwn(client, () => subject),
  )
})
