import { copyOf, elementCount, emptyLike, typedArrays, type Feeds, type Tensor } from './tensor.js'

/** Rows of up to this many bytes are copied out of a batch; larger ones are views of it. */
const copyUpToBytes = 64 * 1024

type Numeric = Exclude<Tensor, { dtype: 'string' }>

/** The shape beyond the batch axis and the dtype of each input: only requests that agree in it share a batch. */
export function signatureOf(feeds: Feeds): string {
  let signature = ''
  for (const name in feeds) {
    const tensor = feeds[name]
    if (tensor !== undefined) signature += `${name}:${tensor.dtype}:${tensor.shape.slice(1).join('x')};`
  }
  return signature
}

/** The size of the arrays; a string counts eight bytes, and two a code unit: many empty ones weigh something too. */
export function bytesOf(feeds: Feeds): number {
  let bytes = 0
  for (const name in feeds) {
    const tensor = feeds[name]
    if (tensor === undefined) continue
    if (tensor.dtype !== 'string') bytes += tensor.data.byteLength
    else for (const text of tensor.data) bytes += 8 + 2 * text.length
  }
  return bytes
}

/** One batch of several requests' feeds, along the batch axis. All must have the same signature. */
export function concatRows(parts: readonly Feeds[]): Feeds {
  const [first] = parts
  if (first === undefined || parts.length === 1) return first ?? {}
  const batch = emptyLike<Tensor>(first)
  for (const name of Object.keys(first)) {
    batch[name] = concat(parts.map((part) => part[name]).filter((tensor) => tensor !== undefined))
  }
  return batch
}

function concat(tensors: readonly Tensor[]): Tensor {
  const [first] = tensors
  if (first === undefined) throw new RangeError('nothing to join')
  const rows = tensors.reduce((sum, { shape }) => sum + (shape[0] ?? 0), 0)
  const shape = [rows, ...first.shape.slice(1)]
  if (first.dtype === 'string') {
    return { dtype: 'string', shape, data: tensors.flatMap((tensor) => tensor.data as string[]) }
  }
  const data = new typedArrays[first.dtype](elementCount(shape))
  let offset = 0
  for (const tensor of tensors) {
    // One signature: all are arrays of the same type.
    data.set(tensor.data as never, offset)
    offset += tensor.data.length
  }
  return { dtype: first.dtype, shape, data } as Tensor
}

/** The same tensors, none of which keeps a larger buffer alive or is shared with `tensors`' owner. */
export function ownCopy(tensors: Feeds): Feeds {
  const copy = emptyLike<Tensor>(tensors)
  for (const name in tensors) {
    const tensor = tensors[name]
    if (tensor !== undefined) copy[name] = { ...tensor, data: copyOf(tensor.data) } as Tensor
  }
  return copy
}

/** Rows `from` to `to` of each tensor: a copy where small, so that it does not keep the whole batch alive. */
export function sliceRows(tensors: Feeds, from: number, to: number): Feeds {
  return rowsOf(tensors, from, to, copyUpToBytes)
}

/** Rows `from` to `to` of each tensor, in memory of their own: what a session may take and detach. */
export function copyRows(tensors: Feeds, from: number, to: number): Feeds {
  return rowsOf(tensors, from, to, Infinity)
}

function rowsOf(tensors: Feeds, from: number, to: number, copyUpTo: number): Feeds {
  const slice = emptyLike<Tensor>(tensors)
  for (const name in tensors) {
    const tensor = tensors[name]
    if (tensor !== undefined) slice[name] = sliceTensor(tensor, from, to, copyUpTo)
  }
  return slice
}

function sliceTensor(tensor: Tensor, from: number, to: number, copyUpTo: number): Tensor {
  const inner = tensor.shape.slice(1)
  const size = elementCount(inner)
  const shape = [to - from, ...inner]
  if (tensor.dtype === 'string') {
    return { dtype: 'string', shape, data: tensor.data.slice(from * size, to * size) }
  }
  const { data }: Numeric = tensor
  const isSmall = (to - from) * size * data.BYTES_PER_ELEMENT <= copyUpTo
  const part = isSmall ? copyOf(data, from * size, to * size) : data.subarray(from * size, to * size)
  return { dtype: tensor.dtype, shape, data: part } as Tensor
}
