/**
 * Ends while a model in placement `process` is computing. Writes the process id of the child, then what it does.
 *
 * Arguments: the folder with `endless.onnx` and `heavy.onnx`, and how to end: `exit`, `throw`, a signal that the
 * parent sends, `idle` by itself with nothing under way, or `drain` after SIGINT with three answers under way.
 */
import { join } from 'node:path'
import { createServing, onnx } from 'mlserving'
import { lastPid } from '../child-processes.js'

const [folder = '', how = ''] = process.argv.slice(2)

async function main(): Promise<void> {
  const source = join(folder, how === 'drain' || how === 'idle' ? 'heavy.onnx' : 'endless.onnx')
  const serving = createServing({ models: { m: onnx({ source, placement: 'process' }) } })
  await serving.ready()
  if (how === 'idle') return console.log(lastPid())
  if (how === 'drain') {
    const runs = [1, 2, 3].map((i) =>
      serving.predict('m', { x: new Array<number>(64).fill(i) }).then(() => console.log('answered')),
    )
    process.on('SIGINT', () => void serving.close().then(() => console.log('closed')))
    console.log(lastPid())
    await Promise.all(runs)
    return
  }
  void serving.predict('m', { x: [0, 0, 0, 0] })
  setTimeout(() => {
    console.log(lastPid())
    if (how === 'exit') process.exit(7)
    if (how === 'throw') throw new Error('thrown on purpose')
  }, 300)
}

void main()
