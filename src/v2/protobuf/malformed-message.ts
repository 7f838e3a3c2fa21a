/** Bytes are no protobuf message of the type they were taken for; the message says where, and what is wrong. */
export class MalformedMessage extends Error {
  /** @param path the names of the fields that it is inside of, the outermost first */
  constructor(
    private readonly reason: string,
    private readonly path: readonly string[] = [],
  ) {
    super(path.length === 0 ? reason : `${path.join('.')}: ${reason}`)
  }

  /** The same, of the message that has this one as its field `name`. */
  within(name: string): MalformedMessage {
    return new MalformedMessage(this.reason, [name, ...this.path])
  }
}
