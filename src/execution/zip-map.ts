import {
  type GraphMessage,
  type NodeMessage,
  type OnnxOpset,
  DIM,
  GRAPH,
  MODEL,
  NODE,
  OPSET,
  SHAPE,
  TENSOR_TYPE,
  TYPE,
  VALUE,
  isStandard,
  readModel,
  readValue,
  subgraphs,
} from './onnx-proto.js'
import { MessageReader, integerField, messageField, textField } from './protobuf.js'

/** A ZipMap operator: scikit-learn's converters end a classifier with one, which makes a map of each row. */
export interface ZipMap {
  /** Its place among the graph's nodes. */
  readonly index: number
  readonly name: string
  readonly input: string
  readonly output: string
  /** One for each column of `input`; empty where the operator names none. */
  readonly classes: readonly string[] | readonly bigint[]
}

/** What {@link rewriteZipMaps} made of a model. */
export interface RewrittenModel {
  /** The very bytes that were given where there was nothing to rewrite. */
  readonly bytes: Uint8Array
  /** By name of an output that has become a tensor: the class of each of its columns. */
  readonly classes: Readonly<Record<string, readonly string[]>>
}

const FLOAT = 1

/** Any that has Identity would do: a model without an import of it uses no other standard operator. */
const ADDED_OPSET_VERSION = 13

/** The ZipMap operators of a graph, without those of its subgraphs. */
export function findZipMaps(graph: GraphMessage): ZipMap[] {
  return graph.nodes.flatMap((node, index) => {
    const [input, output] = [node.inputs[0], node.outputs[0]]
    if (node.opType !== 'ZipMap' || node.domain !== 'ai.onnx.ml' || !input || !output) return []
    return [{ index, name: node.name, input, output, classes: labels(node) }]
  })
}

/**
 * Turns outputs made by ZipMap, sequences of maps that onnxruntime-node can't return, into the tensor of floats
 * [rows, classes] that the ZipMap was fed with.
 *
 * Only a ZipMap of the main graph whose result is an output and goes nowhere else can be rewritten; any other is
 * left as it is.
 *
 * @throws OnnxFormatError when the bytes are not those of an ONNX model
 */
export function rewriteZipMaps(bytes: Uint8Array): RewrittenModel {
  const { graph, opsets } = readModel(bytes)
  const zipMaps = rewritable(graph)
  const classes = Object.create(null) as Record<string, readonly string[]>
  for (const zipMap of zipMaps) classes[zipMap.output] = zipMap.classes.map(String)
  if (zipMaps.length === 0) return { bytes, classes }

  const pieces = MessageReader.over(bytes, 'ModelProto').rewrite((field) =>
    field.field === MODEL.graph ? messageField(MODEL.graph, rewriteGraph(field, zipMaps)) : undefined,
  )
  return { bytes: Buffer.concat([...pieces, ...missingOpset(opsets)]), classes }
}

function rewritable(graph: GraphMessage): ZipMap[] {
  const zipMaps = findZipMaps(graph)
  if (zipMaps.length === 0) return []
  const outputs = new Set(graph.outputs.map(({ name }) => name))
  const taken = new Set(graph.nodes.flatMap(namesTaken))
  return zipMaps.filter(
    ({ output, classes }) => outputs.has(output) && !taken.has(output) && classes.length > 0,
  )
}

/** The values a node takes, those that its subgraphs take from outside included. */
function namesTaken(node: NodeMessage): string[] {
  const inner = subgraphs(node).flatMap((graph) => [
    ...graph.nodes.flatMap(namesTaken),
    ...graph.outputs.map(({ name }) => name),
  ])
  return [...node.inputs, ...inner]
}

function labels(node: NodeMessage): string[] | bigint[] {
  const attribute = (name: string) => node.attributes.find((candidate) => candidate.name === name)
  const strings = attribute('classlabels_strings')?.strings() ?? []
  return strings.length > 0 ? strings : (attribute('classlabels_int64s')?.ints() ?? [])
}

function rewriteGraph(graph: MessageReader, zipMaps: readonly ZipMap[]): Uint8Array[] {
  let index = 0
  return graph.nested('GraphProto').rewrite((field) => {
    switch (field.field) {
      case GRAPH.node: {
        const zipMap = zipMaps.find((candidate) => candidate.index === index)
        index++
        return zipMap && messageField(GRAPH.node, identity(zipMap))
      }
      case GRAPH.output:
      case GRAPH.valueInfo:
        return rewriteValue(field, zipMaps)
      default:
        return undefined
    }
  })
}

function identity({ input, output, name }: ZipMap): Uint8Array[] {
  return [
    ...textField(NODE.input, input),
    ...textField(NODE.output, output),
    ...textField(NODE.name, name),
    ...textField(NODE.opType, 'Identity'),
  ]
}

function rewriteValue(value: MessageReader, zipMaps: readonly ZipMap[]): Uint8Array[] | undefined {
  const { name } = readValue(value)
  const zipMap = zipMaps.find(({ output }) => output === name)
  if (!zipMap) return undefined
  const type = messageField(VALUE.type, matrixType(zipMap.classes.length))
  const rewritten = value
    .nested('ValueInfoProto')
    .rewrite((field) => (field.field === VALUE.type ? type : undefined))
  return messageField(value.field, rewritten)
}

/** A tensor of floats with `columns` columns. The first dimension says nothing: the runtime infers it. */
function matrixType(columns: number): Uint8Array[] {
  const shape = [
    ...messageField(SHAPE.dim, []),
    ...messageField(SHAPE.dim, [integerField(DIM.size, columns)]),
  ]
  return messageField(TYPE.tensor, [
    integerField(TENSOR_TYPE.elemType, FLOAT),
    ...messageField(TENSOR_TYPE.shape, shape),
  ])
}

/** Identity is a standard operator; a model of scikit-learn's operators alone may not import those. */
function missingOpset(opsets: readonly OnnxOpset[]): Uint8Array[] {
  if (opsets.some(({ domain }) => isStandard(domain))) return []
  return messageField(MODEL.opset, [
    ...textField(OPSET.domain, ''),
    integerField(OPSET.version, ADDED_OPSET_VERSION),
  ])
}
