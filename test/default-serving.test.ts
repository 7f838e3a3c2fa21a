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

it('one that doors alone have is closed by the last that gives it back', async () => {
  const [first, second] = [borrowDefaultServing(options), borrowDefaultServing()]
  expect(first.serving).toBe(second.serving)
  await first.giveBack()
  await first.giveBack()
  expect(first.serving.isClosed).toBe(false)
  await second.giveBack()
  expect(first.serving.isClosed).toBe(true)
})

it("one that the user's own code has as well stays when the last door gives it back", async () => {
  const serving = made()
  const door = borrowDefaultServing()
  expect(door.serving).toBe(serving)
  await door.giveBack()
  expect(serving.isClosed).toBe(false)
})
