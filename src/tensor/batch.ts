import { copyOf, elementCount, emptyLike, typedArrays, type Feeds, type Tensor } from './tensor.js'

/** Rows of up to this many bytes are copied out of a batch for who may keep them; larger ones are views of it. */
const copyUpToBytes = 64 * 1024

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
  for (const name in first) {
    const tensors = parts.map((part) => part[name]).filter((tensor) => tensor !== undefined)
    batch[name] = concat(tensors)
  }
  return batch
}

function concat(tensors: readonly Tensor[]): Tensor {
  const [first] = tensors
  if (first === undefined) throw new RangeError('nothing to join')
  let rows = 0
  for (const { shape } of tensors) rows += shape[0] ?? 0
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

/** The same tensors; those that are a small part of a batch are copied, so that they do not keep it alive as a whole. */
export function ownRows(tensors: Feeds): Feeds {
  const own = emptyLike<Tensor>(tensors)
  for (const name in tensors) {
    const tensor = tensors[name]
    if (tensor === undefined) continue
    const isPart =
      tensor.dtype !== 'string' &&
      tensor.data.byteLength <= copyUpToBytes &&
      tensor.data.byteLength < tensor.data.buffer.byteLength
    own[name] = isPart ? ({ ...tensor, data: copyOf(tensor.data) } as Tensor) : tensor
  }
  return own
}

/** Rows `from` to `to` of each tensor, sharing its memory. */
export function sliceRows(tensors: Feeds, from: number, to: number): Feeds {
  const slice = emptyLike<Tensor>(tensors)
  for (const name in tensors) {
    const tensor = tensors[name]
    if (tensor === undefined) continue
    const inner = tensor.shape.slice(1)
    const size = elementCount(inner)
    const [start, end] = [from * size, to * size]
    const data = tensor.dtype === 'string' ? tensor.data.slice(start, end) : tensor.data.subarray(start, end)
    slice[name] = { dtype: tensor.dtype, shape: [to - from, ...inner], data } as Tensor
  }
  return slice
}

/** Rows `from` to `to` of each tensor, in memory of their own: what a session may take and detach. */
export function copyRows(tensors: Feeds, from: number, to: number): Feeds {
  return ownCopy(sliceRows(tensors, from, to))
}
