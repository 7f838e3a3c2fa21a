import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { onTestFinished } from 'vitest'

/** Writes files under a new folder that goes when the test is over. @returns the folder's path */
export function temporaryRepository(files: Readonly<Record<string, string | Uint8Array | object>>): string {
  const root = mkdtempSync(join(tmpdir(), 'mlserving-'))
  onTestFinished(() => rmSync(root, { recursive: true, force: true }))
  for (const [path, content] of Object.entries(files)) writeInto(root, path, content)
  return root
}

export function writeInto(root: string, path: string, content: string | Uint8Array | object): void {
  const file = join(root, path)
  mkdirSync(dirname(file), { recursive: true })
  const isRaw = typeof content === 'string' || content instanceof Uint8Array
  writeFileSync(file, isRaw ? content : JSON.stringify(content))
}
