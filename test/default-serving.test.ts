import { afterEach, expect, it } from 'vitest'
import { custom, defaultServing } from '../src/index.js'
import { borrowDefaultServing } from '../src/default-serving.js'
import { quietLogger } from './models/quiet-logger.js'

const options = {
  models: { m: custom({ load: () => 1, run: (one, rows: number[]) => rows.map((row) => row + one) }) },
  logger: quietLogger(),
}

let open: ReturnType<typeof defaultServing>[] = []
afterEach(async () => {
  for (const serving of open) await serving.close()
  open = []
})

/** The default serving, of the options above. */
function made() {
  const serving = defaultServing(options)
  open.push(serving)
  return serving
}

it('the default serving is one for all who ask', async () => {
  const serving = made()
  expect(defaultServing()).toBe(serving)
  expect((await serving.predict('m', { x: 1 })).meta.model).toBe('m')
  expect(() => defaultServing('./elsewhere')).toThrow(expect.objectContaining({ code: 'CONFLICT' }) as Error)
})

it('a closed one is as good as none', async () => {
  const serving = made()
  await serving.close()
  expect(made()).not.toBe(serving)
})

it('the last door that gives it back closes it', async () => {
  const serving = made()
  const doors = [borrowDefaultServing(), borrowDefaultServing()]
  expect(doors.every((door) => door.serving === (serving as unknown))).toBe(true)
  await doors[0]?.giveBack()
  await doors[0]?.giveBack()
  expect(serving.isClosed).toBe(false)
  await doors[1]?.giveBack()
  expect(serving.isClosed).toBe(true)
})
