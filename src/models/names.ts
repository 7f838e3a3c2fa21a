import { ServingError } from '../errors.js'
import { namePattern } from './repository.js'

/** @throws ServingError INVALID_OPTIONS */
export function checkName(what: string, name: string): void {
  if (namePattern.test(name) && name !== 'latest') return
  throw new ServingError(
    'INVALID_OPTIONS',
    `${quote(name)} can't name a ${what}: use letters, digits, "_", "-" and ".", beginning with a letter or digit, and not "latest".`,
  )
}

/** Whether what is asked for is the version that serves. */
export function isLatest(version: string | undefined): version is 'latest' | undefined {
  return version === undefined || version === 'latest'
}

export function closed(): ServingError {
  return new ServingError('CLOSED', 'the serving is closed')
}

export function quote(name: string): string {
  return JSON.stringify(name.length > 60 ? `${name.slice(0, 57)}...` : name)
}
