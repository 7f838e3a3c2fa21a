import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { convolution, random } from '../onnx/models.js'
import { bundle, start, type Ended } from './program.js'
import { slowToLoad } from './support.js'

/** Ways for a process to end, and what its parent must see of each. */
export const kinds = {
  close: { code: 0, signal: null },
  exit: { code: 7, signal: null },
  throw: { code: 1, signal: null },
  sigterm: { code: null, signal: 'SIGTERM' },
} as const

export type Kind = keyof typeof kinds
export type Placement = 'thread' | 'inline'

/** What the runtime, Node or the C++ library say before they abort. */
const alarming = /napi|libc\+\+abi|terminate called|fatal|abort|segmentation|assertion|mlserving:/i

/** What came of many ends of one kind. */
export interface Ends {
  /** How often each code or signal was seen. */
  readonly seen: Readonly<Record<string, number>>
  /** Each end that was not as it should be, told with what it takes to do it again. */
  readonly wrong: readonly string[]
  /** Answers and loads before the ends, all together: shows that the processes were busy. */
  readonly answers: number
  readonly loads: number
}

/** Makes the programs and models that {@link endMany} needs. */
export async function prepareEnds(folder: string): Promise<string> {
  writeFileSync(join(folder, 'heavy.onnx'), convolution())
  writeFileSync(join(folder, 'slow.onnx'), slowToLoad(6))
  return bundle('ending', folder)
}

/** Ends `count` busy processes at random moments within their first 1.5 seconds, two at a time. */
export async function endMany(
  program: string,
  folder: string,
  { kind, placement, count }: { kind: Kind; placement: Placement; count: number },
): Promise<Ends> {
  const next = random(count)
  const delays = Array.from({ length: count }, () => Math.round((next() + 1) * 750))
  const seen: Record<string, number> = {}
  const wrong: string[] = []
  let [answers, loads] = [0, 0]

  const lane = async (): Promise<void> => {
    for (let delay = delays.pop(); delay !== undefined; delay = delays.pop()) {
      const ended = await endOne(program, [kind, placement, folder, String(delay)])
      const { code, signal, stdout, stderr } = ended
      const exit = String(signal ?? code)
      seen[exit] = (seen[exit] ?? 0) + 1
      answers += stdout.split('p').length - 1
      loads += stdout.split('l').length - 1
      const expected = kinds[kind]
      const asExpected = code === expected.code && signal === expected.signal
      if (!asExpected || alarming.test(stderr) || (kind === 'close' && !stdout.includes('.'))) {
        wrong.push(`${kind}, ${placement}, after ${delay} ms: ${exit}\n${stdout}\n${stderr}`)
      }
    }
  }
  await Promise.all([lane(), lane()])
  return { seen, wrong, answers, loads }
}

function endOne(program: string, args: readonly string[]): Promise<Ended> {
  const { process: child, ended } = start(program, args)
  child.stdout?.on('data', (text: string) => {
    if (text.includes('!')) child.kill('SIGTERM')
  })
  return ended
}
