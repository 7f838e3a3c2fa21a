/** What of headers gRPC can't carry as metadata; undefined where it can carry all. */
export function metadataObjection(headers: Readonly<Record<string, string>>): string | undefined {
  for (const [name, value] of Object.entries(headers)) {
    if (!/^[\w.-]+$/.test(name) || /-bin$/i.test(name))
      return `headers: "${name}" is no name of metadata: letters, digits, "_", "-" and ".", not with "-bin" at its end.`
    if (!/^[ -~]*$/.test(value)) return `headers: the value of "${name}" must be of printable ASCII.`
  }
  return undefined
}
