/** A logger of pino's shape: Fastify's `log`, pino itself, or anything with these four methods. */
export interface Logger {
  debug(fields: object, message: string): void
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}

/** Where nothing was given: warnings and errors on the console, the rest dropped. */
export const consoleLogger: Logger = {
  debug: () => {},
  info: () => {},
  warn: (fields, message) => console.warn(`mlserving: ${message}`, fields),
  error: (fields, message) => console.error(`mlserving: ${message}`, fields),
}

export function isLogger(value: unknown): value is Logger {
  if (typeof value !== 'object' || value === null) return false
  const methods = value as Readonly<Record<string, unknown>>
  return ['debug', 'info', 'warn', 'error'].every((name) => typeof methods[name] === 'function')
}
