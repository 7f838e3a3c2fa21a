import { beforeAll, describe } from 'vitest'
import { frameworks, startOurs, transportsOf } from './our-server.js'
import { isOurOwn } from './our-suite.js'
import { tritonClient } from './python-process.js'
import { speaksTheProtocol } from './protocol-suite.js'
import type { Subject } from './subject.js'

describe.skipIf(tritonClient === undefined).each(frameworks)('mlserving in %s', (framework) => {
  let subject: Subject
  beforeAll(async () => {
    subject = await startOurs(framework)
    return () => subject[Symbol.asyncDispose]()
  })

  speaksTheProtocol(
    transportsOf(framework),
    () => subject,
    (client) => isOurOwn(client, () => subject),
  )
})
