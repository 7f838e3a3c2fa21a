import {
  type GraphMessage,
  type ModelMessage,
  type OnnxOpset,
  type OnnxValue,
  type TensorMessage,
  readModel,
  subgraphs,
} from './onnx-proto.js'
import { type ZipMap, findZipMaps } from './zip-map.js'

export { OnnxFormatError } from './protobuf.js'
export { type ZipMap, rewriteZipMaps } from './zip-map.js'
export type { OnnxOpset, OnnxValue } from './onnx-proto.js'

/** What an ONNX file says about itself. */
export interface OnnxGraph {
  readonly irVersion: number
  readonly opsets: readonly OnnxOpset[]
  /** The tool that wrote the file, such as `pytorch` or `skl2onnx`. */
  readonly producer: string
  /** metadata_props: where exporters put labels, author, version. Has no prototype. */
  readonly metadata: Readonly<Record<string, string>>
  /** Without those that have a default value (an initializer), like the runtime's own list. */
  readonly inputs: readonly OnnxValue[]
  readonly outputs: readonly OnnxValue[]
  readonly zipMaps: readonly ZipMap[]
  /** Files that hold numbers of the model's tensors, relative to the model's own, each once. */
  readonly externalData: readonly string[]
}

/**
 * Reads what an ONNX file says about itself, without the numbers of its tensors: their bytes are neither copied
 * nor looked at.
 *
 * @throws OnnxFormatError when the bytes are not those of an ONNX model
 */
export function readOnnx(bytes: Uint8Array): OnnxGraph {
  const model = readModel(bytes)
  const { irVersion, opsets, producer, metadata, graph } = model
  const initialized = new Set(graph.initializers.map(({ name }) => name))
  return {
    irVersion,
    opsets,
    producer,
    metadata,
    inputs: graph.inputs.filter(({ name }) => !initialized.has(name)),
    outputs: graph.outputs,
    zipMaps: findZipMaps(graph),
    externalData: externalDataOf(model),
  }
}

/** The files that hold numbers of a model's tensors, relative to the model's own, each once. */
export function externalDataOf({ graph, functions }: ModelMessage): string[] {
  const locations = [graph, ...functions].flatMap(tensors).flatMap(({ location }) => location ?? [])
  return [...new Set(locations)]
}

function tensors(graph: GraphMessage): TensorMessage[] {
  const inNodes = graph.nodes.flatMap((node) => [
    ...node.attributes.flatMap((attribute) => attribute.tensors),
    ...subgraphs(node).flatMap(tensors),
  ])
  return [...graph.initializers, ...inNodes]
}

/** ONNX's TensorProto.DataType, by number, under onnxruntime's names. */
const ELEMENT_TYPES: readonly (string | undefined)[] = [
  undefined,
  'float32',
  'uint8',
  'int8',
  'uint16',
  'int16',
  'int32',
  'int64',
  'string',
  'bool',
  'float16',
  'float64',
  'uint32',
  'uint64',
  'complex64',
  'complex128',
  'bfloat16',
  'float8e4m3fn',
  'float8e4m3fnuz',
  'float8e5m2',
  'float8e5m2fnuz',
  'uint4',
  'int4',
  'float4e2m1',
  'float8e8m0',
  'uint2',
  'int2',
  'float6e2m3',
  'float6e3m2',
]

/** The name of an element type, whether or not it can be served; `undefined` for none and for unknown ones. */
export function dtypeOf(elemType: number | undefined): string | undefined {
  return elemType === undefined ? undefined : ELEMENT_TYPES[elemType]
}
