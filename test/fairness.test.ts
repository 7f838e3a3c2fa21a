import { expect, it, onTestFinished } from 'vitest'
import { createServing, onnx } from '../src/index.js'
import { quietLogger } from './models/quiet-logger.js'
import { temporaryRepository } from './models/temporary-repository.js'
import { identityModel, loopModel } from './onnx/models.js'

it('a small model beside a backlog of a large one is answered with the next few runs, not after all of them', async () => {
  const root = temporaryRepository({
    'large/1/model.onnx': loopModel({ ms: 40 }),
    'small/1/model.onnx': identityModel(),
  })
  const serving = createServing({
    models: {
      large: onnx({ source: `${root}/large`, placement: 'thread' }),
      small: onnx({ source: `${root}/small`, placement: 'thread' }),
    },
    logger: quietLogger(),
  })
  onTestFinished(() => serving.close())
  await serving.ready()
  const order: string[] = []
  const ask = async (model: 'large' | 'small', x: number[]) => {
    await serving.predict(model, { x })
    order.push(model)
  }
  const backlog = Array.from({ length: 16 }, () => ask('large', [1, 2, 3, 4]))
  await backlog[0]
  await ask('small', [1, 2, 3])
  const before = order.indexOf('small')
  await Promise.all(backlog)
  // The one that runs, and the two that were handed ahead.
  expect(before).toBeLessThanOrEqual(5)
  expect(order).toHaveLength(17)
})
