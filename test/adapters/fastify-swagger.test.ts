import swagger from '@fastify/swagger'
import fastify from 'fastify'
import { createServing, onnx } from 'mlserving'
import { mlServing } from 'mlserving/fastify'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { routes } from '../../src/http/routes.js'
import { temporaryFolder } from '../execution/support.js'
import { writeInto } from '../models/temporary-repository.js'
import { identityModel } from '../onnx/models.js'

const folder = temporaryFolder()
const app = fastify()

interface Operation {
  readonly operationId: string
  readonly summary: string
  readonly parameters?: readonly { readonly name: string; readonly in: string }[]
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema: object }>> }
  readonly responses: Readonly<Record<string, { readonly content?: object }>>
}
let paths: Record<string, Record<string, Operation>>

beforeAll(async () => {
  writeInto(folder, 'identity/1/model.onnx', identityModel())
  const serving = createServing({
    models: { identity: onnx({ source: `${folder}/identity`, placement: 'inline' }) },
  })
  await serving.ready()
  app.addHook('onClose', () => serving.close())
  await app.register(swagger, { openapi: { info: { title: 'app', version: '1' } } })
  await app.register(mlServing, { serving, prefix: '/ml', admin: { token: 'a-token-of-the-test' } })
  await app.ready()
  paths = app.swagger().paths as unknown as typeof paths
})
afterAll(() => app.close())

test('@fastify/swagger shows every route once, below the prefix, and nothing else', () => {
  const shown = Object.entries(paths).flatMap(([path, operations]) =>
    Object.keys(operations).map((method) => `${method.toUpperCase()} ${path}`),
  )
  const expected = routes.map(({ method, path }) => `${method} /ml${path.replace(/:(\w+)/g, '{$1}')}`)
  expect(shown.sort()).toEqual(expected.sort())
})

test('/openapi.json has the same operations, with the same parameters and answers', async () => {
  const document = (await app.inject('/ml/openapi.json')).json<{ paths: typeof paths }>()
  const outline = (all: typeof paths, prefix: string) =>
    Object.fromEntries(
      Object.entries(all).map(([path, operations]) => [
        `${prefix}${path}`,
        Object.fromEntries(
          Object.entries(operations).map(
            ([method, { operationId, summary, parameters = [], responses, requestBody }]) => [
              method,
              {
                operationId,
                summary,
                parameters: parameters.map(({ name, in: place }) => `${place} ${name}`).sort(),
                takesBody: requestBody !== undefined,
                responses: Object.fromEntries(
                  Object.entries(responses).map(([status, { content = {} }]) => [
                    status,
                    Object.keys(content),
                  ]),
                ),
              },
            ],
          ),
        ),
      ]),
    )
  expect(outline(document.paths, '/ml')).toEqual(outline(paths, ''))
})

test('each with a name of its own, what it takes and what it answers', () => {
  const operations = Object.values(paths).flatMap((methods) => Object.values(methods))
  expect(new Set(operations.map(({ operationId }) => operationId)).size).toBe(routes.length)
  expect(operations.filter(({ summary }) => summary === '')).toEqual([])
  const predict = paths['/ml/models/{model}/versions/{version}/predict']?.post
  expect(predict?.parameters?.map(({ name, in: place }) => `${place} ${name}`)).toEqual([
    'query scores',
    'path model',
    'path version',
  ])
  expect(predict?.requestBody?.content['application/json']?.schema).toMatchObject({
    properties: { instances: { type: 'array' } },
  })
  expect(Object.keys(predict?.responses ?? {})).toEqual(['200', '4XX', '5XX'])
})

test('the schemas neither refuse, change nor drop anything', async () => {
  const url = '/ml/models/identity/predict'
  const answer = await app.inject({ method: 'POST', url: `${url}?scores=false`, payload: { x: [1, 2, 3] } })
  expect(answer.json()).toMatchObject({ prediction: [1, 2, 3] })
  const text = await app.inject({ method: 'POST', url, payload: { x: ['1', '2', '3'] } })
  expect(text.json()).toMatchObject({ code: 'INVALID_INPUT' })
  const scores = await app.inject({ method: 'POST', url: `${url}?scores=7`, payload: { x: [1, 2, 3] } })
  expect(scores.json()).toMatchObject({ code: 'INVALID_REQUEST', detail: expect.stringContaining('?scores') })
  expect((await app.inject('/ml/models/identity')).json()).toMatchObject({ inputs: [{ name: 'x' }] })
})
