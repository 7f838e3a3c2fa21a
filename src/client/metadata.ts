import type { ModelMetadata, ServerMetadata, TensorMetadata } from '../v2/metadata.js'
import type { ModelStatistics, RepositoryEntry } from './messages.js'
import { isObject, listOf, textOf, Unexpected } from './response-json.js'

/** @throws Unexpected, as all here do */
export function serverMetadataOf(message: unknown): ServerMetadata {
  const server = objectOf(message)
  return {
    name: textOf(server, 'name'),
    version: textOf(server, 'version'),
    extensions: listOf(server, 'extensions').map(String),
  }
}

export function modelMetadataOf(message: unknown): ModelMetadata {
  const model = objectOf(message)
  return {
    name: textOf(model, 'name'),
    versions: listOf(model, 'versions').map(String),
    platform: typeof model.platform === 'string' ? model.platform : '',
    inputs: listOf(model, 'inputs').map(tensorMetadataOf),
    outputs: listOf(model, 'outputs').map(tensorMetadataOf),
  }
}

function tensorMetadataOf(value: unknown): TensorMetadata {
  const tensor = objectOf(value)
  const shape = listOf(tensor, 'shape')
  if (!shape.every((size) => Number.isInteger(size)))
    throw new Unexpected(`the shape of "${textOf(tensor, 'name')}" is not of integers`)
  return { name: textOf(tensor, 'name'), datatype: textOf(tensor, 'datatype'), shape: shape as number[] }
}

export function repositoryIndexOf(message: unknown): RepositoryEntry[] {
  if (!Array.isArray(message)) throw new Unexpected('it is no list')
  return message.map((entry: unknown) => {
    textOf(objectOf(entry), 'name')
    return entry as RepositoryEntry
  })
}

export function statisticsOf(message: unknown): ModelStatistics[] {
  return listOf(objectOf(message), 'model_stats').map((entry) => {
    textOf(objectOf(entry), 'name')
    return entry as ModelStatistics
  })
}

function objectOf(value: unknown): Record<string, unknown> {
  if (isObject(value)) return value
  throw new Unexpected(`expected an object; got ${Array.isArray(value) ? 'a list' : typeof value}`)
}
