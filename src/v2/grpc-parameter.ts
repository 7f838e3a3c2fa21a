import { bool, bytes, double, int64, string, uint64, type Field } from './protobuf/field.js'
import { OneOf } from './protobuf/one-of.js'

/** The value of a parameter of a request, a tensor or an answer. An integer that was read is a bigint. */
export type Parameter = boolean | bigint | number | string

const largestInt64 = 2n ** 63n - 1n

const choices = {
  bool: bool(1, 'explicit'),
  int64: int64(2, 'explicit'),
  string: string(3, 'explicit'),
  double: double(4, 'explicit'),
  uint64: uint64(5, 'explicit'),
}

/** `inference.InferParameter`. A number is written as an integer where it is one. */
export const inferParameter = new OneOf<Parameter>(Object.values(choices), (value) => {
  if (typeof value === 'number') return Number.isSafeInteger(value) ? wholeNumber : choices.double
  if (typeof value === 'bigint') return value > largestInt64 ? choices.uint64 : choices.int64
  return choices[typeof value === 'string' ? 'string' : 'bool']
})

const wholeNumber: Field<number> = {
  ...choices.double,
  number: choices.int64.number,
  size: (value) => choices.int64.size(BigInt(value)),
  write: (writer, value) => choices.int64.write(writer, BigInt(value)),
}

/** The value of a parameter of a load or an unload. */
export type RepositoryParameter = boolean | bigint | string | Uint8Array

const repositoryChoices = {
  boolean: bool(1, 'explicit'),
  bigint: int64(2, 'explicit'),
  string: string(3, 'explicit'),
  object: bytes(4, 'explicit'),
}

/** `inference.ModelRepositoryParameter`. */
export const repositoryParameter = new OneOf<RepositoryParameter>(
  Object.values(repositoryChoices),
  (value) => repositoryChoices[typeof value as keyof typeof repositoryChoices],
)
