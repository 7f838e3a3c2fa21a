import { messageOf } from '../errors.js'
import type { ModelFile } from './model-file.js'
import { findRowCoupling } from './row-coupling/row-coupling.js'

/** What a model's file says beyond what a session of it does. */
export interface Inspection {
  /** Why the graph may make rows of a batch depend on each other; undefined where it keeps them apart. */
  readonly coupling: string | undefined
  /** SHA-256 of the file and of those that hold its numbers, in hexadecimal; undefined where one can't be read. */
  readonly sha256: string | undefined
  /** Files that hold its numbers, relative to its own; none where that is not known. */
  readonly externalData: readonly string[]
}

/** The largest file whose graph is looked at. */
export const inspectedBytes = 256 * 1024 * 1024

/** Never throws for what the file says. */
export async function inspect(file: ModelFile): Promise<Inspection> {
  const { externalData } = file
  return { coupling: couplingOf(file), sha256: await file.sha256(), externalData }
}

function couplingOf({ model, problem }: ModelFile): string | undefined {
  if (model === undefined) return unseen(problem)
  try {
    const found = findRowCoupling(model)
    if (found === undefined) return undefined
    const { operator, node, reason } = found
    return node === '' ? `${operator} ${reason}` : `${operator} "${node}" ${reason}`
  } catch (error) {
    return unseen(messageOf(error))
  }
}

function unseen(reason: string | undefined): string {
  return `the graph could not be looked at: ${reason}`
}
