import { createHash, type Hash } from 'node:crypto'
import { open, readFile, stat } from 'node:fs/promises'
import path from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { messageOf, ServingError } from '../errors.js'
import { externalDataOf } from './onnx-graph.js'
import { type ModelMessage, readModel } from './onnx-proto.js'

/** What is digested before the event loop has a turn. */
const chunkBytes = 1024 * 1024

/**
 * A model's file, read and parsed once for all that look into it, without blocking the event loop for longer than it
 * takes to parse. It holds on to the bytes: let it go before the runtime reads the file once more.
 */
export class ModelFile {
  /** What the file says; undefined where that is not known. */
  readonly model: ModelMessage | undefined
  /** Why it is not known. */
  readonly problem: string | undefined
  /** Files that hold numbers of the model's tensors, relative to its own, each once; none where that is not known. */
  readonly externalData: readonly string[] = []

  private constructor(
    readonly path: string,
    /** Of this file alone. */
    readonly bytes: number,
    private readonly content: Uint8Array | undefined,
    mostBytes: number,
  ) {
    try {
      if (content === undefined) this.problem = `the file is larger than ${mostBytes / 1024 / 1024} MiB`
      else this.externalData = externalDataOf((this.model = readModel(content)))
    } catch (error) {
      this.problem = messageOf(error)
    }
  }

  /**
   * @param mostBytes a file that is larger is not looked into: for as long, its bytes are in memory once more
   * @throws ServingError INVALID_MODEL where the file can't be read
   */
  static async read(file: string, mostBytes: number): Promise<ModelFile> {
    try {
      const { size } = await stat(file)
      return new ModelFile(file, size, size > mostBytes ? undefined : await readFile(file), mostBytes)
    } catch (error) {
      throw new ServingError('INVALID_MODEL', `${file} could not be read: ${messageOf(error)}`, {
        cause: error,
      })
    }
  }

  /**
   * SHA-256 of the file, and of those that hold its numbers, in hexadecimal; undefined where one of them can't be read.
   * The event loop has a turn after each mebibyte.
   */
  async sha256(): Promise<string | undefined> {
    const hash = createHash('sha256')
    try {
      if (this.content === undefined) await hashFile(this.path, hash)
      else await hashBytes(this.content, hash)
      for (const location of this.externalData) await hashFile(path.resolve(this.path, '..', location), hash)
      return hash.digest('hex')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === undefined) throw error
      return undefined
    }
  }
}

async function hashBytes(bytes: Uint8Array, hash: Hash): Promise<void> {
  for (let at = 0; at < bytes.length; at += chunkBytes) {
    if (at > 0) await setImmediate()
    hash.update(bytes.subarray(at, at + chunkBytes))
  }
}

/** Digests a file, however large. @throws what the file system does */
export async function hashFile(file: string, hash: Hash): Promise<void> {
  const handle = await open(file)
  try {
    const chunk = Buffer.allocUnsafe(chunkBytes)
    for (;;) {
      const { bytesRead } = await handle.read(chunk)
      if (bytesRead === 0) return
      hash.update(chunk.subarray(0, bytesRead))
    }
  } finally {
    await handle.close()
  }
}
