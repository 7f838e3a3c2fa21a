import { createServing } from 'mlserving'
import { remote, type RemoteAccess } from 'mlserving/remote'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { AnyServing } from '../../src/serving.js'
import { asAny } from '../contract/serving.js'
import { quietLogger } from '../models/quiet-logger.js'
import { IDENTITY_DTYPES } from '../onnx/models.js'
import type { Traits } from './client-suite.js'
import { freePorts } from './python-process.js'
import { numbers, sample } from './samples.js'
import { pairFeeds, type Subject } from './subject.js'

type Protocol = NonNullable<RemoteAccess['protocol']>

export const modelNames = [...IDENTITY_DTYPES.map((dtype) => `identity_${dtype}`), 'pair', 'slow']

/** Where a server is, as `remote()` takes it. */
export function urlOf({ addresses }: Subject, protocol: Protocol): string {
  return protocol === 'rest' ? `http://${addresses.http ?? ''}` : (addresses.grpc ?? '')
}

/** A serving of models that lie on another server, by their names there. */
export function servingOf(names: readonly string[], access: Omit<RemoteAccess, 'model'>): AnyServing {
  const models = Object.fromEntries(names.map((model) => [model, remote({ model, ...access })]))
  return asAny(createServing({ models, logger: quietLogger() }))
}

/** What a serving gets of a server that serves `identity_<dtype>`, `pair` and `slow` for it. */
export function servesBehindRemote(
  subject: () => Subject,
  protocols: readonly Protocol[],
  { binary, jsonDtypes, stringShape }: Traits,
): void {
  describe.each(protocols)('over %s', (protocol) => {
    let serving: AnyServing
    beforeAll(async () => {
      serving = servingOf(modelNames, { url: urlOf(subject(), protocol), protocol })
      await serving.ready()
    })
    afterAll(() => serving.close())

    const isBytes = binary || protocol === 'grpc'
    it.each(IDENTITY_DTYPES.filter((dtype) => isBytes || jsonDtypes.includes(dtype)))(
      'gives %s exactly',
      async (dtype) => {
        const x = sample(dtype, dtype === 'string' ? stringShape : [4, 3], { json: !binary })
        const { outputs } = await serving.infer(`identity_${dtype}`, { inputs: { x } })
        expect(outputs).toEqual({ y: x })
      },
    )

    it('predicts as with a model of its own', async () => {
      const { prediction, meta } = await serving.predict('pair', { a: [1, 2], b: [7] })
      expect(prediction).toEqual({ sum: 10, next: 8 })
      expect(meta).toMatchObject({ model: 'pair', version: '1' })
    })

    it('refuses what the server says it does not take, without asking it', async () => {
      const inputs = { ...pairFeeds([[1, 2, 3n]]), a: numbers([1, 3]) }
      await expect(serving.infer('pair', { inputs })).rejects.toMatchObject({
        code: 'INVALID_INPUT',
        message: expect.stringMatching(/^pair@1: input "a" expects/),
      })
    })

    it('answers many at once, each its own', async () => {
      const tensors = Array.from({ length: 20 }, (_, i) => numbers([1 + (i % 3), 3], i + 1))
      const answers = await Promise.all(
        tensors.map((x) => serving.infer('identity_float32', { inputs: { x } })),
      )
      expect(answers.map(({ outputs }) => outputs['y'])).toEqual(tensors)
    })

    it('holds a request to its deadline', async () => {
      const asked = serving.infer('slow', { inputs: { x: numbers([1, 4]) } }, { timeoutMs: 200 })
      await expect(asked).rejects.toMatchObject({ code: 'TIMEOUT' })
    })

    it('goes to the next server where the first is gone', async () => {
      const [nobody = 0] = await freePorts(1)
      const dead = protocol === 'rest' ? `http://127.0.0.1:${nobody}` : `127.0.0.1:${nobody}`
      const urls = [dead, urlOf(subject(), protocol)]
      await using both = servingOf(['pair'], { urls, protocol })
      const { prediction } = await both.predict('pair', { a: [1, 2], b: [7] })
      expect(prediction).toEqual({ sum: 10, next: 8 })
    })

    it('fails to load a model that the server does not have', async () => {
      await using none = servingOf(['nope'], { url: urlOf(subject(), protocol), protocol })
      const error: unknown = await none.predict('nope', {}).then(
        () => undefined,
        (error: unknown) => error,
      )
      expect(error).toMatchObject({ message: expect.stringContaining('nope') })
    })
  })
}
