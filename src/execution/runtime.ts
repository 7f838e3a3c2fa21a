import { createRequire } from 'node:module'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { messageOf, ServingError } from '../errors.js'

/**
 * Where the host's onnxruntime-node is: the file that `require` would load.
 *
 * Looked for from this package (its peer), and, since a bundle may have moved this code anywhere, from the
 * program's entry and from the working directory.
 * @throws ServingError RUNTIME_MISSING
 */
export function findRuntime(): string {
  const starts = [ownLocation(), process.argv[1], join(process.cwd(), 'index.js')]
  let failure: unknown
  for (const start of starts) {
    if (start === undefined) continue
    try {
      const found = createRequire(start).resolve('onnxruntime-node')
      disableTelemetry()
      return found
    } catch (error) {
      failure ??= error
    }
  }
  throw new ServingError(
    'RUNTIME_MISSING',
    `onnxruntime-node is not installed: add it beside mlserving (npm install onnxruntime-node). ${messageOf(failure)}`,
    { cause: failure },
  )
}

/** This module's file, in ESM, in CJS, and in a bundle of either format, where import.meta may be empty. */
function ownLocation(): string | undefined {
  if (typeof __filename === 'string') return __filename
  const url = import.meta.url as string | undefined
  return url?.startsWith('file:') === true ? fileURLToPath(url) : undefined
}

/**
 * The runtime would write telemetry files under the user's cache folder. It reads the variable from the
 * process's real environment, which only the main thread can set, when its library is first loaded.
 */
function disableTelemetry(): void {
  process.env.ORT_DISABLE_TELEMETRY ??= '1'
}
