import { hash } from 'node:crypto'
import type { Feeds, Tensor } from './tensor.js'

/**
 * A key of feeds: names, dtypes, shapes, and a sha256 of the elements of each tensor. Equal for equal feeds, whatever
 * the order of their names, and for no others.
 */
export function digest(feeds: Feeds): string {
  let key = ''
  for (const name of Object.keys(feeds).sort()) {
    const tensor = feeds[name]
    // The name's length says where it ends; a dtype has no colon, and a hash has 32 characters.
    if (tensor !== undefined)
      key += `${name.length}:${name}${tensor.dtype}:${tensor.shape.join('x')}:${hashOf(tensor)}`
  }
  return key
}

function hashOf({ dtype, data }: Tensor): string {
  return hash('sha256', dtype === 'string' ? lengthsAndTexts(data) : data, 'binary')
}

/** Each text after its length, so that no two lists of texts write the same. */
function lengthsAndTexts(texts: readonly string[]): string {
  let written = ''
  for (const text of texts) written += `${text.length}:${text}`
  return written
}
