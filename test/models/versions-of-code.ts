import { createServing, custom } from 'mlserving'
import { onTestFinished } from 'vitest'
import type { CustomOptions } from '../../src/models/definition.js'
import type { AnyServing } from '../../src/serving.js'
import { asAny } from '../contract/serving.js'
import { quietLogger } from './quiet-logger.js'
import { temporaryRepository } from './temporary-repository.js'

type Options = Omit<Partial<CustomOptions<string, unknown, unknown, unknown>>, 'run'>

/**
 * A serving of the model `m` in three versions, each a folder, of which 1 serves; a version answers with `run`.
 * @param run is given the version's name and the input. Default: answers the version's name
 */
export function versionsOfCode(
  run: (version: string, input: never) => unknown = (version) => version,
  options: Options = {},
): { readonly serving: AnyServing; readonly logger: ReturnType<typeof quietLogger> } {
  const logger = quietLogger()
  const source = temporaryRepository({ '1/about': '', '2/about': '', '3/about': '' })
  const m = custom({
    unchecked: true,
    current: '1',
    concurrency: 64,
    ...options,
    source,
    load: ({ version }) => version,
    run: (version, rows: unknown[]) => Promise.all(rows.map((row) => run(version, row as never))),
  })
  const serving = createServing({ models: { m }, logger })
  onTestFinished(() => serving.close())
  return { serving: asAny(serving), logger }
}

/** The version that answers. */
export async function versionOf(
  serving: AnyServing,
  options?: Parameters<AnyServing['predict']>[2],
): Promise<string> {
  return (await serving.predict('m', 'input', options)).meta.version
}
