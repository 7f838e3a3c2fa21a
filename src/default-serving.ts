import { ServingError } from './errors.js'
import { createServing } from './create-serving.js'
import { isServing, type AnyServing, type Serving } from './serving.js'
import type { CreateServingOptions } from './serving-options.js'

/** The type of {@link defaultServing}: augmented by the user with `interface Register { serving: typeof serving }`. */
// eslint-disable-next-line @typescript-eslint/no-empty-object-type -- an interface, since only these can be augmented
export interface Register {}

export type RegisteredServing = Register extends { readonly serving: infer S } ? S : Serving

const shelfKey = Symbol.for('mlserving.defaultServing')

/** The default serving of the process, and who uses it. */
interface Shelf {
  serving: AnyServing
  doors: number
  /** Whether the user's own code has it, who then closes it. */
  isHeld: boolean
}

const shelf = globalThis as { [shelfKey]?: Shelf | undefined }

/**
 * The serving that a process has by default: the same for all who ask, for the ESM and the CJS copy of the package,
 * and across a reload of the module that asks. Who asks first makes it.
 *
 * `close()` ends it for all; a later call makes a new one.
 *
 * @param options of the serving, where it is still to be made. Default: serves `./models`
 * @throws ServingError INVALID_OPTIONS; CONFLICT where options are given for one that is there already
 */
export function defaultServing(options?: string | CreateServingOptions): RegisteredServing {
  const found = present()
  if (found !== undefined && options !== undefined) {
    throw new ServingError(
      'CONFLICT',
      'the default serving is there already: give its options where it is first asked for, or close it first.',
    )
  }
  const shelved = found ?? make(options)
  shelved.isHeld = true
  return shelved.serving as unknown as RegisteredServing
}

/**
 * The default serving for a door, made of `options` where it is not there. The door says with the returned function
 * that it needs it no more; the last to say so ends it, unless the user's own code has it as well.
 */
export function borrowDefaultServing(options?: CreateServingOptions): {
  serving: AnyServing
  giveBack: () => Promise<void>
} {
  const borrowed = present() ?? make(options)
  borrowed.doors++
  const give = async () => {
    if (--borrowed.doors === 0 && !borrowed.isHeld) await borrowed.serving.close()
  }
  let giving: Promise<void> | undefined
  return { serving: borrowed.serving, giveBack: () => (giving ??= give()) }
}

function make(options: string | CreateServingOptions = './models'): Shelf {
  const serving: unknown = createServing(options)
  if (!isServing(serving)) throw new ServingError('INTERNAL', 'createServing() gave no serving')
  return (shelf[shelfKey] = { serving, doors: 0, isHeld: false })
}

/** One that was closed is as good as none. */
function present(): Shelf | undefined {
  const found = shelf[shelfKey]
  return found?.serving.isClosed === true ? undefined : found
}
