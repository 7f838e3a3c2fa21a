/** Writes whether a session with placement `auto` may run inline. Argument: a small `.onnx` file. */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { inlineLayout } from '../../../src/execution/layout.js'
import { openSession } from '../../../src/execution/open-session.js'
import { coreCount } from '../../../src/execution/permits.js'

async function main(): Promise<void> {
  const path = process.argv[2] ?? ''
  const sha256 = createHash('sha256').update(readFileSync(path)).digest('hex')
  const learned = new Map([[sha256, { cores: coreCount(), layout: inlineLayout, measured: [] }]])
  const session = await openSession({ path, learned })
  console.log(session.placement === 'inline')
  await session.close()
}

void main()
