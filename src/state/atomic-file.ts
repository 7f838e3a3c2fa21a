import { randomUUID } from 'node:crypto'
import { open, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'

/**
 * Puts a file in the place of another: whoever reads sees the one or the other, whole.
 * @param isDurable whether it must survive a loss of power once this has settled
 */
export async function writeAtomically(path: string, text: string, isDurable: boolean): Promise<void> {
  // Beside it, since only within a file system a rename is one step. A name of its own: no two writers share it.
  const temporary = `${path}.${randomUUID()}.tmp`
  try {
    const file = await open(temporary, 'wx')
    try {
      await file.writeFile(text)
      if (isDurable) await file.sync()
    } finally {
      await file.close()
    }
    await rename(temporary, path)
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  }
  if (isDurable) await syncFolder(dirname(path))
}

/** Without it the rename itself may be lost. Not every file system can. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r').catch(() => undefined)
  await folder?.sync().catch(() => {})
  await folder?.close()
}
