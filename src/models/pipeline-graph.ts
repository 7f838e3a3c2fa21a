import { ServingError } from '../errors.js'
import { nearest } from '../options.js'
import type { ModelDefinition } from './model-definition.js'

/**
 * Checks what pipelines say of their stages before they run: that there are such models, and that none comes back to
 * itself.
 *
 * @param isComplete whether there are no models but these
 * @throws ServingError INVALID_OPTIONS
 */
export function checkStages(definitions: ReadonlyMap<string, ModelDefinition>, isComplete: boolean): void {
  for (const name of definitions.keys()) {
    const unknown = stagesOf(definitions, name).find((stage) => !definitions.has(stage))
    if (unknown !== undefined && isComplete) {
      const near = nearest(unknown, definitions.keys())
      const hint = near === undefined ? '' : ` Did you mean "${near}"?`
      throw new ServingError(
        'INVALID_OPTIONS',
        `createServing(): models.${name}: its stage "${unknown}" is no model.${hint}`,
      )
    }
  }
  const checked = new Set<string>()
  for (const name of definitions.keys()) checkCycle(definitions, name, [], checked)
}

/** @param path the pipelines that led to `name` */
function checkCycle(
  definitions: ReadonlyMap<string, ModelDefinition>,
  name: string,
  path: readonly string[],
  checked: Set<string>,
): void {
  const from = path.indexOf(name)
  if (from >= 0) {
    const cycle = [...path.slice(from), name].join(' > ')
    throw new ServingError('INVALID_OPTIONS', `createServing(): pipelines that never end: ${cycle}.`)
  }
  if (checked.has(name)) return
  for (const stage of stagesOf(definitions, name)) checkCycle(definitions, stage, [...path, name], checked)
  checked.add(name)
}

function stagesOf(definitions: ReadonlyMap<string, ModelDefinition>, name: string): string[] {
  const definition = definitions.get(name)
  return definition?.kind === 'pipeline' ? definition.options.stages.map(({ model }) => model) : []
}
