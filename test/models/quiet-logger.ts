import type { Logger } from '../../src/logger.js'

export interface Entry {
  readonly level: keyof Logger
  readonly message: string
}

/** A logger that keeps what it is told. */
export function quietLogger(): Logger & { readonly entries: Entry[] } {
  const entries: Entry[] = []
  const log = (level: keyof Logger) => (_fields: object, message: string) =>
    void entries.push({ level, message })
  return { entries, debug: log('debug'), info: log('info'), warn: log('warn'), error: log('error') }
}
