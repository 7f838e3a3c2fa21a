// Compiled by `npm run types`, never run: code of the pages in docs that is no whole program.
import type { IncomingMessage } from 'node:http'
import type { INestApplication } from '@nestjs/common'
import type { NestFastifyApplication } from '@nestjs/platform-fastify'
import { createServing, custom, float32, int64, onnx, pipeline, type Logger } from 'mlserving'
import { mlServing } from 'mlserving/express'
import { mlServing as mlServingPlugin } from 'mlserving/fastify'
import express from 'express'
import { register } from 'prom-client'

declare const Tokenizer: { load(path: string): Promise<{ encode(text: string): number[] }> }
declare const pixelsOf: (image: Uint8Array) => Promise<Float32Array>
declare const ids: readonly number[]
declare const logger: Logger
declare const tierOf: (key: string | string[] | undefined) => 'paid' | 'free'
declare const audit: { write(entry: object): void }
declare const env: Record<'CI_TOKEN' | 'ANN_TOKEN', string>
declare const operatorOf: (request: IncomingMessage) => Promise<{ name: string } | undefined>
declare const onExpress: INestApplication
declare const onFastify: NestFastifyApplication

const app = express()

// #region codec
const embedding = onnx({
  source: './models/embedding',
  outputs: { last_hidden_state: 'float32' },
  codec: async ({ dir }) => {
    const tokenizer = await Tokenizer.load(`${dir}/tokenizer.json`)
    return {
      encode: ({ text }: { text: string }) => {
        const ids = tokenizer.encode(text)
        return { input_ids: int64(ids, [1, ids.length]) }
      },
      decode: ({ last_hidden_state }) => Array.from(last_hidden_state.data),
    }
  },
  unchecked: true, // over HTTP `encode` is given JSON that nobody has checked
})
// #endregion

// #region pipeline
const stages = {
  detect: onnx({ source: './models/detect', decode: ({ boxes }) => Array.from(boxes?.data ?? [], Number) }),
  read: custom({ load: () => 'text', run: (text, rows: number[][]) => rows.map(() => text) }),
}
const ocr = createServing({
  models: { ...stages, ocr: pipeline(['detect', 'read'], { models: stages }) },
})
const { prediction } = await ocr.predict('ocr', { pixels: [1, 2] }) // a string
// #endregion
prediction.trim()

// #region accepts
const vision = onnx({
  source: './models/vision',
  accepts: ['image/*'],
  encode: async (image: Uint8Array) => ({ pixels: float32(await pixelsOf(image), [1, 3, 224, 224]) }),
})
// #endregion

// #region memory
const many = createServing({ repository: './models', maxLoadedModels: 8, memoryLimitBytes: 2 * 1024 ** 3 })
// #endregion
await many.ready()

// #region host
const serving = createServing({ models: { embedding, vision }, logger, registry: register })
// #endregion

// #region context
app.use(
  '/ml',
  mlServing(serving, {
    routes: ['predict'],
    context: (req) => ({
      priority: tierOf(req.headers['x-api-key']) === 'paid' ? 'normal' : 'low',
      timeoutMs: 1000,
    }),
  }),
)
app.use(mlServing(serving, { routes: ['health', 'metrics'] }))
// #endregion

// #region changes
const end = serving.models.onChange(({ error, ...change }) => {
  audit.write({ ...change, error: error?.message }) // at, actor, action, model, from, to, result, reason, requestId
})
await serving.models.switchVersion('vision', '2', { actor: 'ann', reason: 'ticket 7' })
end()
// #endregion

// #region admin
const tokens = { ci: env.CI_TOKEN, ann: env.ANN_TOKEN }
app.use(mlServing(serving, { admin: { token: tokens } })) // or one, of an actor named "token"
app.use(
  '/ops',
  mlServing(serving, {
    routes: ['admin'],
    admin: { authorize: async (request) => (await operatorOf(request))?.name },
  }),
)
// #endregion

// #region infer
const { outputs, meta } = await serving.infer('embedding', {
  inputs: { input_ids: int64(ids, [1, ids.length]) },
  outputs: ['last_hidden_state'], // default: all
})
// #endregion
logger.info({ meta }, `${outputs.last_hidden_state?.data.length ?? 0} numbers`)

// #region replicas
const replica = createServing({ repository: './models', stateDir: '/shared/mlserving' })
// #endregion
await replica.close()

// #region nest
onExpress.use('/ml', mlServing(serving))
// Nest brings a Fastify of its own, and with it types of its own.
await onFastify.register(mlServingPlugin as never, { serving, prefix: '/ml' } as never)
// #endregion
