/** Exits while a run is under way that is longer than the process waits. Argument: the folder with `endless.onnx`. */
import { join } from 'node:path'
import { openSession } from '../../../src/execution/open-session.js'

async function main(): Promise<void> {
  const session = await openSession({
    placement: 'thread',
    path: join(process.argv[2] ?? '', 'endless.onnx'),
    intraOpThreads: 1,
  })
  void session.run({ x: { dtype: 'float32', shape: [1, 4], data: new Float32Array(4) } })
  setTimeout(() => process.exit(0), 200)
}

void main()
