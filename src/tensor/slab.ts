import { copyOf, emptyLike, type Feeds, type Tensor } from './tensor.js'

/** Arrays of up to this many bytes lie together in one buffer. */
const smallBytes = 4096
const slabBytes = 64 * 1024

let slab = new ArrayBuffer(slabBytes)
let used = 0

/**
 * Copies of small arrays side by side in one buffer: a buffer of its own for each costs more than the copy, and as much
 * again when it is collected. Whoever gives buffers away, to another thread say, takes {@link ownBuffers} first.
 */
export function slabCopy(tensors: Feeds): Feeds {
  const copy = emptyLike<Tensor>(tensors)
  for (const name in tensors) {
    const tensor = tensors[name]
    if (tensor !== undefined)
      copy[name] = { dtype: tensor.dtype, shape: tensor.shape, data: copied(tensor.data) } as Tensor
  }
  return copy
}

function copied(data: Tensor['data']): Tensor['data'] {
  if (Array.isArray(data) || data.byteLength > smallBytes) return copyOf(data)
  const Type = Buffer.isBuffer(data) ? Uint8Array : (data.constructor as typeof Uint8Array)
  const copy = slabArray(Type, data.length)
  copy.set(data as never)
  return copy
}

interface ArrayType<A> {
  readonly BYTES_PER_ELEMENT: number
  new (length: number): A
  new (buffer: ArrayBuffer, offset: number, length: number): A
}

/** An array of zeros: side by side with others, where it is small. */
export function slabArray<A>(Type: ArrayType<A>, length: number): A {
  const byteLength = length * Type.BYTES_PER_ELEMENT
  if (byteLength > smallBytes) return new Type(length)
  // Elements of up to eight bytes must begin at a multiple of eight.
  const bytes = (byteLength + 7) & ~7
  if (used + bytes > slabBytes) {
    slab = new ArrayBuffer(slabBytes)
    used = 0
  }
  const array = new Type(slab, used, length)
  used += bytes
  return array
}

/** The same tensors, each of which has its buffer to itself; those that have already are not copied. */
export function ownBuffers(tensors: Feeds): Feeds {
  let own: Record<string, Tensor> | undefined
  for (const name in tensors) {
    const tensor = tensors[name]
    if (tensor === undefined || tensor.dtype === 'string') continue
    if (tensor.data.buffer.byteLength === tensor.data.byteLength) continue
    own ??= Object.assign(emptyLike<Tensor>(tensors), tensors)
    own[name] = { ...tensor, data: copyOf(tensor.data) } as Tensor
  }
  return own ?? tensors
}
