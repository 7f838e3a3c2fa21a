/** Writes whether a session with placement `auto` would ever move. Argument: a small `.onnx` file. */
import { AutoSession } from '../../../src/execution/auto.js'
import { openSession } from '../../../src/execution/open-session.js'

async function main(): Promise<void> {
  const session = await openSession({ path: process.argv[2] ?? '' })
  console.log(session instanceof AutoSession)
  await session.close()
}

void main()
