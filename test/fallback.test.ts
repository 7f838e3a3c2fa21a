import { describe, expect, it, onTestFinished } from 'vitest'
import { createServing, custom, ServingError, type ErrorCode } from '../src/index.js'
import { quietLogger } from './models/quiet-logger.js'

/** `main` fails with `failure` where the input is not positive; `spare` answers for it. */
function servingOf(failure: ErrorCode, { spare = 'spare' } = {}) {
  const serving = createServing({
    models: {
      main: custom({
        fallback: spare,
        load: () => 1,
        run: (one, rows: number[]) => {
          if (rows.some((row) => row <= 0)) throw new ServingError(failure, 'main is down')
          return rows.map((row) => row + one)
        },
      }),
      spare: custom({
        fallback: 'main',
        load: () => 100,
        run: (hundred, rows: number[]) => {
          if (rows.includes(-1)) throw new Error('spare is down as well')
          return rows.map((row) => row + hundred)
        },
      }),
    },
    logger: quietLogger(),
  })
  onTestFinished(() => serving.close())
  return serving
}

describe('a fallback', () => {
  it('answers where its model fails, and the answer says so', async () => {
    const serving = servingOf('INFERENCE_FAILED')
    const own = await serving.predict('main', 1)
    expect(own.meta).toMatchObject({ model: 'main' })
    expect(own.meta.degraded).toBeUndefined()
    const other = await serving.predict('main', 0, { version: '1' })
    expect(other.prediction).toBe(100)
    expect(other.meta).toMatchObject({ model: 'spare', degraded: 'fallback' })
    const { body } = await serving.metrics.exposition()
    expect(body).toContain('model_requests_total{model="main",model_version="1",status="inference_failed"} 1')
    expect(body).toContain('model_requests_total{model="spare",model_version="1",status="success"} 1')
  })

  it('does not answer for an input that is wrong', async () => {
    const serving = servingOf('INVALID_INPUT')
    await expect(serving.predict('main', 0)).rejects.toMatchObject({ code: 'INVALID_INPUT' })
  })

  it('that fails as well, ends in its own error, whoever falls back on whom', async () => {
    const serving = servingOf('INFERENCE_FAILED')
    await expect(serving.predict('main', -1)).rejects.toMatchObject({
      code: 'INFERENCE_FAILED',
      message: 'spare@1: run failed: spare is down as well',
    })
  })

  it('that is no model leaves the error as it is', async () => {
    const serving = servingOf('INFERENCE_FAILED', { spare: 'nobody' })
    await expect(serving.predict('main', 0)).rejects.toMatchObject({ message: 'main@1: main is down' })
  })

  it('answers for the input as it was asked about, whatever the caller changes later', async () => {
    const serving = createServing({
      models: {
        main: custom({
          fallback: 'spare',
          load: () => 1,
          run: async (_, _rows: { x: number[] }[]): Promise<number[][]> => {
            await new Promise(setImmediate)
            throw new Error('main is down')
          },
        }),
        spare: custom({ load: () => 1, run: (_, rows: { x: number[] }[]) => rows.map(({ x }) => x) }),
      },
      logger: quietLogger(),
    })
    onTestFinished(() => serving.close())
    await serving.ready()
    const input = { x: [1, 2] }
    const answer = serving.predict('main', input)
    input.x[0] = 9
    expect((await answer).prediction).toEqual([1, 2])
  })

  it('is asked from the first moment on, before the models are known', async () => {
    const serving = servingOf('INFERENCE_FAILED')
    expect(await serving.predict('main', 0)).toMatchObject({ prediction: 100 })
  })

  it('can not be the model itself', () => {
    const own = custom({ fallback: 'm', load: () => 1, run: (_, rows: number[]) => rows })
    expect(() => createServing({ models: { m: own } })).toThrow("models.m can't be its own fallback.")
  })

  it('answers for a model that can not be loaded', async () => {
    const serving = createServing({
      models: {
        main: custom({
          fallback: 'spare',
          load: (): number => {
            throw new Error('gone')
          },
          run: (one, rows: number[]) => rows.map(() => one),
        }),
        spare: custom({ load: () => 2, run: (two, rows: number[]) => rows.map(() => two) }),
      },
      logger: quietLogger(),
    })
    onTestFinished(() => serving.close())
    expect(await serving.predict('main', 0)).toMatchObject({ prediction: 2, meta: { degraded: 'fallback' } })
  })
})
