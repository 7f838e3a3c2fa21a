/** A content type without its parameters, in lower case. */
function essence(contentType: string): string {
  return contentType.replace(/;.*$/s, '').trim().toLowerCase()
}

/** Whether a content type is one at all (RFC 9110, 8.3.1), whatever its parameters are. */
export function isMediaType(contentType: string): boolean {
  return /^[\w!#$%&'*+.^`|~-]+\/[\w!#$%&'*+.^`|~-]+$/.test(essence(contentType))
}

export function isJsonType(contentType: string): boolean {
  return /^application\/([\w.-]+\+)?json$/.test(essence(contentType))
}

/** Whether a content type is one of `patterns`: `image/png`, `image/*`, or any by two asterisks. */
export function matchesType(contentType: string, patterns: readonly string[]): boolean {
  const type = essence(contentType)
  if (!/^[^\s/]+\/[^\s/]+$/.test(type)) return false
  return patterns.some((pattern) => {
    const wanted = pattern.toLowerCase()
    if (wanted === '*/*') return true
    return wanted.endsWith('/*') ? type.startsWith(wanted.slice(0, -1)) : type === wanted
  })
}
