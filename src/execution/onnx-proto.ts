import { type Fields, MessageReader, OnnxFormatError } from './protobuf.js'

/** The field numbers of onnx.proto that a rewriting needs as well. */
export const MODEL = { graph: 7, opset: 8 } as const
export const OPSET = { domain: 1, version: 2 } as const
export const GRAPH = { node: 1, output: 12, valueInfo: 13 } as const
export const NODE = { input: 1, output: 2, name: 3, opType: 4 } as const
export const VALUE = { type: 2 } as const
export const TYPE = { tensor: 1 } as const
export const TENSOR_TYPE = { elemType: 1, shape: 2 } as const
export const SHAPE = { dim: 1 } as const
export const DIM = { size: 1, name: 2 } as const

/** What an input or output of a graph is declared to be. */
export interface OnnxValue {
  readonly name: string
  readonly kind: 'tensor' | 'sparse' | 'sequence' | 'map' | 'optional' | 'unknown'
  /** ONNX's TensorProto.DataType, of a tensor; `undefined` where none is declared. */
  readonly elemType: number | undefined
  /** For each dimension its size, its symbolic name or `''`; `undefined` where no shape is declared. */
  readonly dims: readonly (number | string)[] | undefined
}

/** A version of an operator set that a model imports. */
export interface OnnxOpset {
  /** `''` is the domain of the standard operators. */
  readonly domain: string
  readonly version: number
}

/** What a tensor is called and where its numbers are; the numbers are not read. */
export interface TensorMessage {
  readonly name: string
  /** The file of its numbers, relative to the model's; `undefined` where they are in the model itself. */
  readonly location: string | undefined
}

/** An operator's parameter. Numbers and strings are decoded on call: tree ensembles have millions. */
export interface AttributeMessage {
  readonly name: string
  readonly tensors: readonly TensorMessage[]
  readonly graphs: readonly GraphMessage[]
  ints(): bigint[]
  strings(): string[]
}

/** One operator in a graph. */
export interface NodeMessage {
  readonly name: string
  readonly opType: string
  readonly domain: string
  readonly inputs: readonly string[]
  readonly outputs: readonly string[]
  readonly attributes: readonly AttributeMessage[]
}

/** A model's graph, a subgraph, or the body of a function (which has nodes alone). */
export interface GraphMessage {
  readonly nodes: readonly NodeMessage[]
  readonly inputs: readonly OnnxValue[]
  readonly outputs: readonly OnnxValue[]
  readonly initializers: readonly TensorMessage[]
}

/** A model without its numbers. It holds on to the model's bytes: take what is needed and let it go. */
export interface ModelMessage {
  readonly irVersion: number
  readonly producer: string
  readonly opsets: readonly OnnxOpset[]
  readonly metadata: Readonly<Record<string, string>>
  readonly graph: GraphMessage
  readonly functions: readonly GraphMessage[]
}

/** @throws OnnxFormatError when the bytes are not those of an ONNX model */
export function readModel(bytes: Uint8Array): ModelMessage {
  const { graph, ...rest } = MessageReader.over(bytes, 'ModelProto').read<ModelDraft>(modelFields, {
    irVersion: 0,
    producer: '',
    opsets: [],
    metadata: Object.create(null) as Record<string, string>,
    graph: undefined,
    functions: [],
  })
  if (!graph) throw new OnnxFormatError('no graph', bytes.length)
  return { ...rest, graph }
}

/** Whether a domain is that of the standard operators, which has two names. */
export function isStandard(domain: string): boolean {
  return domain === '' || domain === 'ai.onnx'
}

/** The graphs inside a node: the branches of an If, the body of a Loop or Scan. */
export function subgraphs(node: NodeMessage): GraphMessage[] {
  return node.attributes.flatMap((attribute) => attribute.graphs)
}

/** What a message is while it is read. */
type Draft<T> = { -readonly [K in keyof T]: T[K] extends readonly (infer E)[] ? E[] : T[K] }

interface ModelDraft extends Draft<Omit<ModelMessage, 'metadata' | 'graph'>> {
  readonly metadata: Record<string, string>
  graph: GraphMessage | undefined
}

const modelFields: Fields<ModelDraft> = {
  1: (model, field) => (model.irVersion = field.int()),
  2: (model, field) => (model.producer = field.text()),
  [MODEL.graph]: (model, field) => {
    if (model.graph) throw new OnnxFormatError('a second graph', field.start)
    model.graph = readGraph(field)
  },
  [MODEL.opset]: (model, field) => model.opsets.push(readOpset(field)),
  14: (model, field) => {
    const { key, value } = readEntry(field)
    model.metadata[key] = value
  },
  25: (model, field) => model.functions.push(readFunction(field)),
}

const graphFields: Fields<Draft<GraphMessage>> = {
  [GRAPH.node]: (graph, field) => graph.nodes.push(readNode(field)),
  5: (graph, field) => graph.initializers.push(readTensor(field)),
  11: (graph, field) => graph.inputs.push(readValue(field)),
  [GRAPH.output]: (graph, field) => graph.outputs.push(readValue(field)),
  15: (graph, field) => readSparseTensor(field, graph.initializers),
}

const functionFields: Fields<Draft<GraphMessage>> = {
  7: (graph, field) => graph.nodes.push(readNode(field)),
}

const emptyGraph = (): Draft<GraphMessage> => ({ nodes: [], inputs: [], outputs: [], initializers: [] })

function readGraph(field: MessageReader): GraphMessage {
  return field.nested('GraphProto').read(graphFields, emptyGraph())
}

function readFunction(field: MessageReader): GraphMessage {
  return field.nested('FunctionProto').read(functionFields, emptyGraph())
}

const nodeFields: Fields<Draft<NodeMessage>> = {
  [NODE.input]: (node, field) => node.inputs.push(field.text()),
  [NODE.output]: (node, field) => node.outputs.push(field.text()),
  [NODE.name]: (node, field) => (node.name = field.text()),
  [NODE.opType]: (node, field) => (node.opType = field.text()),
  5: (node, field) => node.attributes.push(readAttribute(field)),
  7: (node, field) => (node.domain = field.text()),
}

function readNode(field: MessageReader): NodeMessage {
  const node = { name: '', opType: '', domain: '', inputs: [], outputs: [], attributes: [] }
  return field.nested('NodeProto').read(nodeFields, node)
}

const attributeFields: Fields<Draft<Omit<AttributeMessage, 'ints' | 'strings'>>> = {
  1: (attribute, field) => (attribute.name = field.text()),
  5: (attribute, field) => attribute.tensors.push(readTensor(field)),
  6: (attribute, field) => attribute.graphs.push(readGraph(field)),
  10: (attribute, field) => attribute.tensors.push(readTensor(field)),
  11: (attribute, field) => attribute.graphs.push(readGraph(field)),
  22: (attribute, field) => readSparseTensor(field, attribute.tensors),
  23: (attribute, field) => readSparseTensor(field, attribute.tensors),
}
const intFields: Fields<bigint[]> = { 8: (ints, field) => field.bigints(ints) }
const stringFields: Fields<string[]> = { 9: (strings, field) => strings.push(field.text()) }

function readAttribute(field: MessageReader): AttributeMessage {
  const reader = field.nested('AttributeProto')
  return {
    ...reader.read(attributeFields, { name: '', tensors: [], graphs: [] }),
    ints: () => reader.read(intFields, []),
    strings: () => reader.read(stringFields, []),
  }
}

/** TensorProto.DataLocation of numbers that are in another file. */
const EXTERNAL = 1

const tensorFields: Fields<{ name: string; location: string; place: number }> = {
  8: (tensor, field) => (tensor.name = field.text()),
  13: (tensor, field) => {
    const { key, value } = readEntry(field)
    if (key === 'location') tensor.location = value
  },
  14: (tensor, field) => (tensor.place = field.int()),
}

function readTensor(field: MessageReader): TensorMessage {
  const tensor = { name: '', location: '', place: 0 }
  const { name, location, place } = field.nested('TensorProto').read(tensorFields, tensor)
  return { name, location: place === EXTERNAL ? location : undefined }
}

const sparseFields: Fields<TensorMessage[]> = {
  1: (tensors, field) => tensors.push(readTensor(field)),
  2: (tensors, field) => tensors.push(readTensor(field)),
}

function readSparseTensor(field: MessageReader, into: TensorMessage[]): void {
  field.nested('SparseTensorProto').read(sparseFields, into)
}

const opsetFields: Fields<Draft<OnnxOpset>> = {
  [OPSET.domain]: (opset, field) => (opset.domain = field.text()),
  [OPSET.version]: (opset, field) => (opset.version = field.int()),
}

function readOpset(field: MessageReader): OnnxOpset {
  return field.nested('OperatorSetIdProto').read(opsetFields, { domain: '', version: 0 })
}

const entryFields: Fields<{ key: string; value: string }> = {
  1: (entry, field) => (entry.key = field.text()),
  2: (entry, field) => (entry.value = field.text()),
}

function readEntry(field: MessageReader): { key: string; value: string } {
  return field.nested('StringStringEntryProto').read(entryFields, { key: '', value: '' })
}

const valueFields: Fields<Draft<OnnxValue>> = {
  1: (value, field) => (value.name = field.text()),
  [VALUE.type]: (value, field) => field.nested('TypeProto').read(typeFields, value),
}

const typeFields: Fields<Draft<OnnxValue>> = {
  [TYPE.tensor]: (value, field) => {
    value.kind = 'tensor'
    field.nested('TypeProto.Tensor').read(tensorTypeFields, value)
  },
  4: (value) => (value.kind = 'sequence'),
  5: (value) => (value.kind = 'map'),
  8: (value, field) => {
    value.kind = 'sparse'
    field.nested('TypeProto.SparseTensor').read(tensorTypeFields, value)
  },
  9: (value) => (value.kind = 'optional'),
}

const tensorTypeFields: Fields<Draft<OnnxValue>> = {
  [TENSOR_TYPE.elemType]: (value, field) => (value.elemType = field.int()),
  [TENSOR_TYPE.shape]: (value, field) =>
    (value.dims = field.nested('TensorShapeProto').read<(number | string)[]>(shapeFields, [])),
}

const shapeFields: Fields<(number | string)[]> = {
  [SHAPE.dim]: (dims, field) => {
    const { size } = field.nested('Dimension').read<{ size: number | string }>(dimFields, { size: '' })
    dims.push(size)
  },
}

const dimFields: Fields<{ size: number | string }> = {
  [DIM.size]: (dim, field) => (dim.size = field.int()),
  [DIM.name]: (dim, field) => (dim.size = field.text()),
}

/** The input, output or inner value of a graph in the field that the reader stands on. */
export function readValue(field: MessageReader): OnnxValue {
  const value: OnnxValue = { name: '', kind: 'unknown', elemType: undefined, dims: undefined }
  return field.nested('ValueInfoProto').read(valueFields, value)
}
