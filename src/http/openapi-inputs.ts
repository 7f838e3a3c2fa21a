import type { JsonSchema } from './route-schema.js'

/** What models take, as components of a document. */
export interface InputComponents {
  readonly schemas: Readonly<Record<string, JsonSchema>>
  /** Of each model, a reference to its own. */
  readonly refs: readonly JsonSchema[]
}

export function refTo(component: string): { readonly $ref: string } {
  return { $ref: `#/components/schemas/${component}` }
}

/**
 * The schemas of models' inputs as components, `input.<model>`; what one defines for itself is a component as well,
 * `input.<model>.<name>`, since many generators follow no reference into a component.
 * @param inputs by model, each a document of its own: what it refers to lies within it
 */
export function inputComponents(inputs: ReadonlyMap<string, JsonSchema>): InputComponents {
  const schemas = new Map<string, JsonSchema>()
  for (const model of inputs.keys()) schemas.set(componentOf(model), {})
  for (const [model, schema] of inputs) {
    // References would be understood from its id, rather than from the document.
    const { $defs, definitions, $id: _, ...own } = schema
    const component = componentOf(model)
    const places = new Map<string, string>()
    const parts: [name: string, part: unknown][] = []
    for (const [key, defined] of Object.entries({ $defs, definitions })) {
      for (const [name, part] of Object.entries(defined ?? {})) {
        const free = freeName(`${component}.${name.replace(/[^\w.-]/g, '_')}`, schemas)
        schemas.set(free, {})
        places.set(`#/${key}/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`, refTo(free).$ref)
        parts.push([free, part])
      }
    }
    places.set('#', refTo(component).$ref)
    const moved = (part: unknown) => withReferences(part, places) as JsonSchema
    schemas.set(component, { title: `The input of ${model}`, ...moved(own) })
    for (const [name, part] of parts) schemas.set(name, moved(part))
  }
  return {
    schemas: Object.fromEntries(schemas),
    refs: [...inputs.keys()].map((model) => refTo(componentOf(model))),
  }
}

function componentOf(model: string): string {
  return `input.${model}`
}

function freeName(wanted: string, taken: ReadonlyMap<string, unknown>): string {
  return taken.has(wanted) ? freeName(`${wanted}_`, taken) : wanted
}

/** A schema whose references go to where its parts are now. @param places where they are, by where they were */
function withReferences(node: unknown, places: ReadonlyMap<string, string>): unknown {
  if (Array.isArray(node)) return node.map((each) => withReferences(each, places))
  if (typeof node !== 'object' || node === null) return node
  return Object.fromEntries(
    Object.entries(node).map(([key, value]) =>
      key === '$ref' && typeof value === 'string' && value.startsWith('#')
        ? [key, moved(value, places)]
        : [key, withReferences(value, places)],
    ),
  )
}

/** Where a reference goes to now: to a part, into one, or to what lies elsewhere in the schema. */
function moved(reference: string, places: ReadonlyMap<string, string>): string {
  const [, part = '', rest = ''] = /^(#\/(?:\$defs|definitions)\/[^/]*)(.*)$/.exec(reference) ?? []
  const place = places.get(decoded(part))
  if (place !== undefined) return `${place}${rest}`
  return `${places.get('#') ?? ''}${reference.slice(1)}`
}

/** A fragment of a URI has other characters escaped. */
function decoded(fragment: string): string {
  try {
    return decodeURIComponent(fragment)
  } catch {
    return fragment
  }
}
