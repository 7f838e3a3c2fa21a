/**
 * Ends while inferences run and models load. Each answer writes `p` to stdout, each load `l`, the
 * end of a close `.`.
 *
 * Arguments: how to end, the placement of the heavy model, the folder with `heavy.onnx` and `slow.onnx`, and
 * after how many milliseconds: an even number from the start, so that it may come while the models load, an odd one
 * from the first answer.
 */
import { writeSync } from 'node:fs'
import { join } from 'node:path'
import { createServing, onnx } from 'mlserving'
import { openSession } from '../../../src/execution/open-session.js'

const [kind = '', placement = '', folder = '', delay = ''] = process.argv.slice(2)
const say = (text: string) => writeSync(1, text)

const heavy = join(folder, 'heavy.onnx')
const slow = { path: join(folder, 'slow.onnx'), placement: 'thread', intraOpThreads: 1 } as const
const serving = createServing({
  models: { heavy: onnx({ source: heavy, placement: placement === 'inline' ? 'inline' : 'thread' }) },
})
let ending = false
let answered = () => {}
const firstAnswer = new Promise<void>((resolve) => (answered = resolve))

async function predict(): Promise<void> {
  while (!ending) {
    await serving.predict('heavy', { x: new Array<number>(64).fill(0.5) })
    say('p')
    answered()
  }
}

/** Versions that come beside the others. */
async function load(): Promise<void> {
  for (let version = 2; !ending; version++) {
    await serving.models.load('heavy', String(version), { source: heavy })
    say('l')
  }
}

/** Sessions that come and go. */
async function replace(): Promise<void> {
  while (!ending) {
    const session = await openSession(slow)
    say('l')
    await session.close()
  }
}

const ends: Readonly<Record<string, () => unknown>> = {
  exit: () => process.exit(7),
  throw: () => {
    throw new Error('thrown on purpose')
  },
  // The parent process sends it.
  sigterm: () => say('!'),
  close: async () => {
    ending = true
    await serving.close()
    say('.')
  },
}

const refused = (error: unknown) => {
  if (!ending) throw error
}
for (const work of [predict, predict, predict, predict, load, replace]) void work().catch(refused)
const begin = Number(delay) % 2 === 1 ? firstAnswer : Promise.resolve()
void begin.then(() => setTimeout(() => ends[kind]?.(), Number(delay)))
