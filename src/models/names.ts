import { ServingError } from '../errors.js'
import { show } from '../options.js'
import { namePattern } from './repository.js'

/** @throws ServingError INVALID_OPTIONS */
export function checkName(what: string, name: string): void {
  // Where types are not checked, it may be a number, whose digits would pass.
  if (typeof name === 'string' && namePattern.test(name) && name !== 'latest') return
  throw new ServingError(
    'INVALID_OPTIONS',
    `${quote(name)} can't name a ${what}: give a string of letters, digits, "_", "-" and ".", beginning with a letter or digit, and not "latest".`,
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
  return show(name)
}
