/** Writes whether a session with placement `auto` may run inline. Argument: a small `.onnx` file. */
import { inlineLayout } from '../../../src/execution/layout.js'
import { openSession } from '../../../src/execution/open-session.js'
import { coreCount } from '../../../src/execution/permits.js'

async function main(): Promise<void> {
  const learned = { cores: coreCount(), layout: inlineLayout, measured: [] }
  const session = await openSession({ path: process.argv[2] ?? '', learned })
  console.log(session.placement === 'inline')
  await session.close()
}

void main()
