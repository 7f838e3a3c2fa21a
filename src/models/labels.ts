import { ServingError, type ErrorCode } from '../errors.js'
import { isPlainObject, text, type Field } from '../options.js'
import { checkName, quote } from './names.js'
import { namePattern } from './repository.js'

/** Movable names of a model's versions, such as `stable` and `canary`. */
export class Labels {
  readonly #versions = new Map<string, string>()

  /** The version that a label names; undefined where there is no such label. */
  versionOf(label: string): string | undefined {
    return this.#versions.get(label)
  }

  /** The labels of a version. */
  of(version: string): string[] {
    return [...this.#versions].filter(([, labelled]) => labelled === version).map(([label]) => label)
  }

  set(label: string, version: string): void {
    this.#versions.set(label, version)
  }

  /** @returns whether there was such a label */
  delete(label: string): boolean {
    return this.#versions.delete(label)
  }

  clear(): void {
    this.#versions.clear()
  }

  get size(): number {
    return this.#versions.size
  }

  /** Versions by label. */
  toJSON(): Readonly<Record<string, string>> {
    return Object.fromEntries(this.#versions)
  }
}

/**
 * Checks that a label can't be taken for something else.
 * @param versions the names of the model's versions
 * @throws ServingError INVALID_OPTIONS for what can't be a name, and for `latest`; CONFLICT for the name of a version
 */
export function checkLabel(model: string, label: string, versions: ReadonlyMap<string, unknown>): void {
  checkName('label', label)
  if (!versions.has(label)) return
  throw new ServingError(
    'CONFLICT',
    `${quote(label)} can't be a label of "${model}": it is the name of one of its versions.`,
  )
}

/** Versions by label, as options state them. */
export const labelsOption: Field<Readonly<Record<string, string>>> = {
  expected: 'an object of versions by label',
  schema: { type: 'object', additionalProperties: text.schema },
  accepts: (value): value is Readonly<Record<string, string>> =>
    isPlainObject(value) && Object.values(value).every((version) => text.accepts(version)),
  inside: (labels, path, code: ErrorCode) => {
    const wrong = Object.keys(labels).find((label) => !namePattern.test(label) || label === 'latest')
    if (wrong === undefined) return
    throw new ServingError(
      code,
      `${path}: ${quote(wrong)} can't be a label: it must match ${namePattern.source}, and not be "latest".`,
    )
  },
}
