import 'reflect-metadata'
import { gzipSync } from 'node:zlib'
import { Controller, Get, Logger, Module, type INestApplication } from '@nestjs/common'
import { NestFactory } from '@nestjs/core'
import { ExpressAdapter } from '@nestjs/platform-express'
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify'
import { createServing, onnx } from 'mlserving'
import { mlServing as expressServing } from 'mlserving/express'
import { mlServing as fastifyServing } from 'mlserving/fastify'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { AnyServing } from '../../src/serving.js'
import { asAny } from '../contract/serving.js'
import { temporaryFolder } from '../execution/support.js'
import { ask, json, post } from '../http/client.js'
import { writeInto } from '../models/temporary-repository.js'
import { addInt64 } from '../onnx/models.js'

const folder = temporaryFolder()
const path = '/ml/models/add/predict'
let serving: AnyServing

Logger.overrideLogger(false)

beforeAll(async () => {
  writeInto(folder, 'add/1/model.onnx', addInt64())
  serving = asAny(createServing({ models: { add: onnx({ source: `${folder}/add`, placement: 'inline' }) } }))
  await serving.ready()
})
afterAll(() => serving.close())

class OwnController {
  own(): string {
    return "the app's own"
  }
}
class AppModule {
  readonly name = 'app'
}

// What the decorators do, without their syntax: the compiler of the tests has none.
const own = Object.getOwnPropertyDescriptor(OwnController.prototype, 'own')
if (own !== undefined) Get('own')(OwnController.prototype, 'own', own)
Controller()(OwnController)
Module({ controllers: [OwnController] })(AppModule)

async function onExpress(): Promise<INestApplication> {
  const app = await NestFactory.create(AppModule, new ExpressAdapter())
  return app.use('/ml', expressServing(serving))
}

async function onFastify(): Promise<INestApplication> {
  const app = await NestFactory.create<NestFastifyApplication>(AppModule, new FastifyAdapter())
  // Nest brings a Fastify of its own, whose types are other types.
  await app.register(fastifyServing as never, { serving, prefix: '/ml' } as never)
  return app
}

describe.each([
  ['Express', onExpress],
  ['Fastify', onFastify],
])('NestJS on %s', (_, create) => {
  let app: INestApplication
  let origin: string
  beforeAll(async () => {
    app = await create()
    await app.listen(0, '127.0.0.1')
    origin = await app.getUrl()
  })
  afterAll(() => app.close())

  test('serves predictions, integers of 64 bits exactly', async () => {
    const answer = await post(origin, path, '{"x":[9007199254740993,1,1]}')
    expect(answer.status).toBe(200)
    expect(json(answer)).toMatchObject({ prediction: ['9007199254740994', 3, 4], model_version: '1' })
  })

  test('reads a compressed body', async () => {
    const headers = { 'content-type': 'application/json', 'content-encoding': 'gzip' }
    const answer = await ask(origin, path, { headers, body: gzipSync('{"x":[1,1,1]}') })
    expect(json(answer)).toMatchObject({ prediction: [2, 3, 4] })
  })

  test('answers errors as everywhere', async () => {
    const answer = await post(origin, path, { x: [1] })
    expect(answer.status).toBe(400)
    expect(answer.headers['content-type']).toBe('application/problem+json; charset=utf-8')
    expect(json(answer)).toMatchObject({ code: 'INVALID_INPUT' })
    expect((await post(origin, path, '{"x":')).status).toBe(400)
  })

  test('serves the other routes, and leaves the rest to its controllers', async () => {
    for (const route of ['/health', '/ready', '/models', '/models/add', '/metrics']) {
      expect((await ask(origin, `/ml${route}`)).status, route).toBe(200)
    }
    expect((await ask(origin, '/own')).text).toBe("the app's own")
    expect(json(await ask(origin, '/ml/nowhere'))).toMatchObject({ statusCode: 404 })
  })
})
