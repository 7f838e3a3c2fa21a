import { ServingError } from '../errors.js'

/**
 * The Standard Schema interface (standardschema.dev, version 1), which zod, valibot, arktype and others
 * implement: enough of it to validate an input and to infer its types.
 */
export interface StandardSchemaV1<Input = unknown, Output = Input> {
  readonly '~standard': {
    readonly version: 1
    readonly vendor: string
    readonly validate: (value: unknown) => SchemaResult<Output> | Promise<SchemaResult<Output>>
    readonly types?: { readonly input: Input; readonly output: Output } | undefined
  }
}

export type SchemaResult<Output> =
  { readonly value: Output; readonly issues?: undefined } | { readonly issues: readonly SchemaIssue[] }

export interface SchemaIssue {
  readonly message: string
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined
}

export function isStandardSchema(value: unknown): value is StandardSchemaV1 {
  // arktype's schemas are functions.
  return (
    ((typeof value === 'object' && value !== null) || typeof value === 'function') && '~standard' in value
  )
}

/** `age: expected a number; name: required`, for a message. */
function describeIssues(issues: readonly SchemaIssue[]): string {
  return issues
    .slice(0, 5)
    .map(({ message, path }) => {
      const at = path?.map((part) => String(typeof part === 'object' ? part.key : part)).join('.')
      return at ? `${at}: ${message}` : message
    })
    .join('; ')
}

/**
 * A value as the schema gives it back.
 * @param label `model@version`, for the message
 * @throws ServingError INVALID_INPUT with the path of each thing that is wrong
 */
export async function validated(label: string, schema: StandardSchemaV1, value: unknown): Promise<unknown> {
  const result = await schema['~standard'].validate(value)
  if (result.issues === undefined) return result.value
  throw new ServingError('INVALID_INPUT', `${label}: ${describeIssues(result.issues)}`)
}
