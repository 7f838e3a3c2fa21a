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

/** What a tensor is called, its form, and where its numbers are. */
export interface TensorMessage {
  readonly name: string
  readonly dims: readonly number[]
  /** ONNX's TensorProto.DataType. */
  readonly elemType: number
  /** The file of its numbers, relative to the model's; `undefined` where they are in the model itself. */
  readonly location: string | undefined
  /** Its numbers, decoded on call: those of shapes, axes and scales. `undefined` where they are of another kind, or elsewhere. */
  numbers(): number[] | undefined
}

/** An operator's parameter. Numbers and strings are decoded on call: tree ensembles have millions. */
export interface AttributeMessage {
  readonly name: string
  /** In a function's body: the parameter of the call whose value this one takes. */
  readonly reference: string | undefined
  readonly tensors: readonly TensorMessage[]
  readonly graphs: readonly GraphMessage[]
  int(): number | undefined
  float(): number | undefined
  text(): string | undefined
  ints(): bigint[]
  floats(): number[]
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

/** A model's graph, a subgraph, or the body of a function (whose inputs and outputs are names alone). */
export interface GraphMessage {
  readonly nodes: readonly NodeMessage[]
  readonly inputs: readonly OnnxValue[]
  readonly outputs: readonly OnnxValue[]
  readonly initializers: readonly TensorMessage[]
}

/** An operator that the model itself defines. */
export interface FunctionMessage extends GraphMessage {
  readonly name: string
  readonly domain: string
  readonly opsets: readonly OnnxOpset[]
}

/** A model without its numbers. It holds on to the model's bytes: take what is needed and let it go. */
export interface ModelMessage {
  readonly irVersion: number
  readonly producer: string
  readonly opsets: readonly OnnxOpset[]
  readonly metadata: Readonly<Record<string, string>>
  readonly graph: GraphMessage
  readonly functions: readonly FunctionMessage[]
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

const functionFields: Fields<Draft<FunctionMessage>> = {
  1: (body, field) => (body.name = field.text()),
  4: (body, field) => body.inputs.push(untyped(field.text())),
  5: (body, field) => body.outputs.push(untyped(field.text())),
  7: (body, field) => body.nodes.push(readNode(field)),
  9: (body, field) => body.opsets.push(readOpset(field)),
  10: (body, field) => (body.domain = field.text()),
}

function untyped(name: string): OnnxValue {
  return { name, kind: 'unknown', elemType: undefined, dims: undefined }
}

const emptyGraph = (): Draft<GraphMessage> => ({ nodes: [], inputs: [], outputs: [], initializers: [] })

function readGraph(field: MessageReader): GraphMessage {
  return field.nested('GraphProto').read(graphFields, emptyGraph())
}

function readFunction(field: MessageReader): FunctionMessage {
  return field.nested('FunctionProto').read(functionFields, {
    ...emptyGraph(),
    name: '',
    domain: '',
    opsets: [],
  })
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

type AttributeDraft = Draft<Pick<AttributeMessage, 'name' | 'reference' | 'tensors' | 'graphs'>>

const attributeFields: Fields<AttributeDraft> = {
  1: (attribute, field) => (attribute.name = field.text()),
  5: (attribute, field) => attribute.tensors.push(readTensor(field)),
  6: (attribute, field) => attribute.graphs.push(readGraph(field)),
  10: (attribute, field) => attribute.tensors.push(readTensor(field)),
  11: (attribute, field) => attribute.graphs.push(readGraph(field)),
  21: (attribute, field) => (attribute.reference = field.text()),
  22: (attribute, field) => readSparseTensor(field, attribute.tensors),
  23: (attribute, field) => readSparseTensor(field, attribute.tensors),
}
const floatFields: Fields<number[]> = { 2: (floats, field) => field.float32s(floats) }
const intFields: Fields<number[]> = { 3: (ints, field) => ints.push(field.int()) }
const textFields: Fields<string[]> = { 4: (texts, field) => texts.push(field.text()) }
const floatsFields: Fields<number[]> = { 7: (floats, field) => field.float32s(floats) }
const intsFields: Fields<bigint[]> = { 8: (ints, field) => field.bigints(ints) }
const stringsFields: Fields<string[]> = { 9: (strings, field) => strings.push(field.text()) }

function readAttribute(field: MessageReader): AttributeMessage {
  const reader = field.nested('AttributeProto')
  const draft: AttributeDraft = { name: '', reference: undefined, tensors: [], graphs: [] }
  return {
    ...reader.read(attributeFields, draft),
    int: () => reader.read<number[]>(intFields, []).at(-1),
    float: () => reader.read<number[]>(floatFields, []).at(-1),
    text: () => reader.read<string[]>(textFields, []).at(-1),
    ints: () => reader.read<bigint[]>(intsFields, []),
    floats: () => reader.read<number[]>(floatsFields, []),
    strings: () => reader.read<string[]>(stringsFields, []),
  }
}

/** TensorProto.DataLocation of numbers that are in another file. */
const EXTERNAL = 1

const tensorFields: Fields<{
  name: string
  dims: bigint[]
  elemType: number
  location: string
  place: number
}> = {
  1: (tensor, field) => field.bigints(tensor.dims),
  2: (tensor, field) => (tensor.elemType = field.int()),
  8: (tensor, field) => (tensor.name = field.text()),
  13: (tensor, field) => {
    const { key, value } = readEntry(field)
    if (key === 'location') tensor.location = value
  },
  14: (tensor, field) => (tensor.place = field.int()),
}

function readTensor(field: MessageReader): TensorMessage {
  const reader = field.nested('TensorProto')
  const draft = { name: '', dims: [], elemType: 0, location: '', place: 0 }
  const { name, dims, elemType, location, place } = reader.read(tensorFields, draft)
  return {
    name,
    dims: dims.map(Number),
    elemType,
    location: place === EXTERNAL ? location : undefined,
    numbers: () => (place === EXTERNAL ? undefined : numbersOf(reader, elemType)),
  }
}

/** How the numbers of a tensor lie in raw_data, by TensorProto.DataType. */
const RAW: Readonly<Record<number, { bytes: number; read: (view: DataView, at: number) => number }>> = {
  1: { bytes: 4, read: (view, at) => view.getFloat32(at, true) },
  2: { bytes: 1, read: (view, at) => view.getUint8(at) },
  3: { bytes: 1, read: (view, at) => view.getInt8(at) },
  6: { bytes: 4, read: (view, at) => view.getInt32(at, true) },
  7: { bytes: 8, read: (view, at) => Number(view.getBigInt64(at, true)) },
  9: { bytes: 1, read: (view, at) => view.getUint8(at) },
}

const valueFieldsOfTensor: Fields<{ floats: number[]; ints: bigint[]; raw: Uint8Array | undefined }> = {
  4: (values, field) => field.float32s(values.floats),
  5: (values, field) => field.bigints(values.ints),
  7: (values, field) => field.bigints(values.ints),
  9: (values, field) => (values.raw = field.data()),
}

function numbersOf(reader: MessageReader, elemType: number): number[] | undefined {
  const form = RAW[elemType]
  if (form === undefined) return undefined
  const { floats, ints, raw } = reader.read(valueFieldsOfTensor, {
    floats: [],
    ints: [],
    raw: undefined as Uint8Array | undefined,
  })
  if (raw === undefined) return floats.length > 0 ? floats : ints.map(Number)
  const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength)
  return Array.from({ length: Math.floor(raw.length / form.bytes) }, (_, i) =>
    form.read(view, i * form.bytes),
  )
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
