import { Validator } from '@seriousme/openapi-schema-validator'
import { createServing, custom, onnx, pipeline } from 'mlserving'
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { routes } from '../../src/http/routes.js'
import type { AnyServing } from '../../src/serving.js'
import { ask, json } from '../http/client.js'
import { quietLogger } from '../models/quiet-logger.js'
import { temporaryRepository } from '../models/temporary-repository.js'
import { identityModel } from '../onnx/models.js'
import { hosts } from './hosts.js'
import { asAny } from './serving.js'

interface Document {
  readonly info: { readonly title: string; readonly version: string }
  readonly servers: readonly { readonly url: string }[]
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
  readonly components: {
    readonly schemas: Readonly<Record<string, unknown>>
    readonly securitySchemes?: object
  }
}

interface Operation {
  readonly operationId: string
  readonly parameters?: readonly { readonly name: string; readonly in: string }[]
  readonly requestBody?: {
    readonly required: boolean
    readonly content: Readonly<Record<string, { readonly schema: Readonly<Record<string, unknown>> }>>
  }
  readonly responses: Readonly<Record<string, { readonly content: Readonly<Record<string, unknown>> }>>
  readonly security?: unknown
}

interface Tree {
  readonly value: number
  readonly children: readonly Tree[]
}
const tree: z.ZodType<Tree> = z.object({ value: z.number(), children: z.array(z.lazy(() => tree)) })

let serving: AnyServing

beforeEach(async () => {
  const source = temporaryRepository({ '1/model.onnx': identityModel() })
  serving = asAny(
    createServing({
      logger: quietLogger(),
      models: {
        numbers: onnx({ source, placement: 'inline' }),
        text: custom({ input: z.object({ text: z.string().max(9) }), load: () => 1, stream: () => [1] }),
        tree: custom({ input: tree, load: () => 1, run: (_, rows) => rows }),
        image: custom({
          accepts: ['image/*'],
          input: z.instanceof(Uint8Array),
          load: () => 1,
          run: (_, rows) => rows.map(({ length }) => length),
        }),
        bare: custom({ unchecked: true, load: () => 1, run: (_, rows: unknown[]) => rows }),
        chain: pipeline(['numbers', 'bare']),
      },
    }),
  )
  await serving.ready()
})
afterEach(() => serving.close())

/** METHOD /path of each operation. */
function operations({ paths }: Document): string[] {
  return Object.entries(paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
  )
}

const templated = ({ method, path }: { method: string; path: string }) =>
  `${method} ${path.replace(/:(\w+)/g, '{$1}')}`

/** The components that say what models take. */
function inputsOf({ components }: Document): Record<string, unknown> {
  return Object.fromEntries(Object.entries(components.schemas).filter(([name]) => name.startsWith('input.')))
}

describe.each(hosts)('$name', ({ start }) => {
  test('GET /openapi.json is valid OpenAPI, and describes every route', async () => {
    await using host = await start(serving, { admin: { token: 'a-token-of-the-test' } })
    const answer = await ask(host.origin, '/openapi.json')
    expect(answer.status).toBe(200)
    expect(answer.headers['content-type']).toBe('application/json; charset=utf-8')
    const document = json(answer) as unknown as Document
    const { valid, errors } = await new Validator().validate(
      structuredClone(document) as object as Record<string, unknown>,
    )
    expect([valid, errors]).toEqual([true, undefined])
    expect(operations(document).sort()).toEqual(routes.map(templated).sort())
    expect(document.info).toEqual({ title: 'mlserving', version: expect.stringMatching(/^\d/) })
    expect(document.servers).toEqual([{ url: '/' }])
    const all = Object.values(document.paths).flatMap((methods) => Object.values(methods))
    expect(new Set(all.map(({ operationId }) => operationId)).size).toBe(routes.length)
  })

  test('describes the routes that are mounted, and no others, below their prefix', async () => {
    await using host = await start(serving, {
      prefix: '/ml/v1',
      routes: ['predict', 'openapi'],
      serverName: 'acme',
      also: [{ prefix: '/probes', routes: ['health', 'openapi'] }],
    })
    for (const at of ['/ml/v1/openapi.json', '/ml/v1/openapi.json/', '/ml/v1/openapi.json?x=/y/']) {
      const document = json(await ask(host.origin, at)) as unknown as Document
      expect(document.servers).toEqual([{ url: '/ml/v1' }])
      expect(document.info.title).toBe('acme')
      expect(operations(document).sort()).toEqual(
        routes
          .filter(({ group }) => group === 'predict' || group === 'openapi')
          .map(templated)
          .sort(),
      )
      expect(document.components).not.toHaveProperty('securitySchemes')
    }
    const probes = json(await ask(host.origin, '/probes/openapi.json')) as unknown as Document
    expect(operations(probes)).toEqual(['GET /health', 'GET /ready', 'GET /openapi.json'])
    expect(probes.servers).toEqual([{ url: '/probes' }])
    expect((await ask(host.origin, '/openapi.json')).status).toBe(404)
  })

  test('says what each model takes, as far as its schema or its metadata does', async () => {
    await using host = await start(serving)
    const document = json(await ask(host.origin, '/openapi.json')) as unknown as Document
    const row = { type: 'array', items: { type: 'number' }, minItems: 3, maxItems: 3 }
    const x = {
      description: 'float32 [batch, 3]: a row without the first dimension, or a list of rows',
      anyOf: [row, { type: 'array', items: row }],
    }
    const numbers = { type: 'object', required: ['x'], properties: { x } }
    expect(inputsOf(document)).toEqual({
      'input.numbers': { title: 'The input of numbers', ...numbers },
      'input.chain': { title: 'The input of chain', ...numbers },
      'input.text': {
        title: 'The input of text',
        type: 'object',
        required: ['text'],
        properties: { text: { type: 'string', maxLength: 9 } },
      },
      'input.tree': expect.objectContaining({
        properties: {
          value: { type: 'number' },
          children: { type: 'array', items: { $ref: '#/components/schemas/input.tree' } },
        },
      }),
    })
    for (const path of ['/predict', '/models/{model}/predict', '/models/{model}/stream']) {
      const { content, required } = document.paths[path]?.post?.requestBody ?? {}
      expect(required).toBe(true)
      expect(Object.keys(content ?? {})).toEqual(['application/json', 'image/*'])
      expect(content?.['application/json']?.schema.anyOf).toEqual([
        ...['chain', 'numbers', 'text', 'tree'].map((model) => ({
          $ref: `#/components/schemas/input.${model}`,
        })),
        { $ref: `#/components/schemas/${path.endsWith('stream') ? 'StreamRequest' : 'PredictRequest'}` },
      ])
    }
  })

  test('has what routes share once, as components that generators make types of', async () => {
    await using host = await start(serving, { admin: { token: 'a-token-of-the-test' } })
    const { paths, components } = json(await ask(host.origin, '/openapi.json')) as unknown as Document
    expect(Object.keys(components.schemas)).toEqual(
      expect.arrayContaining([
        'Problem',
        'Prediction',
        'Model',
        'ModelVersion',
        'InferRequest',
        'InferError',
      ]),
    )
    const problem = { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } }
    expect(paths['/predict']?.post?.responses['4XX']?.content).toEqual(problem)
    expect(JSON.stringify(paths)).not.toContain('"title":"')
  })

  test('follows what changes: a model that is loaded, and where it is asked for', async () => {
    const source = temporaryRepository({ '1/model.onnx': identityModel() })
    const early = createServing({
      logger: quietLogger(),
      models: { late: onnx({ source, placement: 'inline', lazy: true }) },
    })
    onTestFinished(() => early.close())
    await using host = await start(asAny(early), { also: [{ prefix: '/twin' }] })
    const documentAt = async (path: string) => json(await ask(host.origin, path)) as unknown as Document
    expect(inputsOf(await documentAt('/openapi.json'))).toEqual({})
    await early.predict('late', { x: [1, 2, 3] })
    for (const path of ['/openapi.json', '/twin/openapi.json', '/openapi.json']) {
      const document = await documentAt(path)
      expect(Object.keys(inputsOf(document))).toEqual(['input.late'])
      expect(document.servers).toEqual([{ url: path.startsWith('/twin') ? '/twin' : '/' }])
    }
  })

  test('says what is no JSON, who may ask, and what may be left out', async () => {
    await using host = await start(serving, { admin: { token: 'a-token-of-the-test' } })
    const { paths, components } = json(await ask(host.origin, '/openapi.json')) as unknown as Document
    const predict = paths['/models/{model}/versions/{version}/predict']?.post
    expect(predict?.parameters?.map(({ name, in: place }) => `${place} ${name}`)).toEqual([
      'path model',
      'path version',
      'query scores',
    ])
    expect(Object.keys(predict?.responses ?? {})).toEqual(['200', '4XX', '5XX'])
    expect(Object.keys(predict?.responses['4XX']?.content ?? {})).toEqual(['application/problem+json'])
    expect(Object.keys(paths['/metrics']?.get?.responses['200']?.content ?? {})).toEqual(['text/plain'])
    for (const path of ['/models/{model}/stream', '/v2/models/{model}/generate_stream']) {
      expect(Object.keys(paths[path]?.post?.responses['200']?.content ?? {})).toEqual(['text/event-stream'])
    }
    expect(components.securitySchemes).toEqual({ token: { type: 'http', scheme: 'bearer' } })
    const load = paths['/admin/models/{model}/versions/{version}/load']?.post
    expect(load).toMatchObject({ security: [{ token: [] }], requestBody: { required: false } })
    const infer = paths['/v2/models/{model}/infer']?.post
    const types = ['application/json', 'application/octet-stream']
    expect(Object.keys(infer?.requestBody?.content ?? {})).toEqual(types)
    expect(Object.keys(infer?.responses['200']?.content ?? {})).toEqual(types)
    expect(paths['/admin/models/{model}/switch']?.post?.requestBody?.required).toBe(true)
    expect(predict?.security).toBeUndefined()
  })
})
