/** Bytes are no protobuf message of the type they were taken for; the message says what is wrong. */
export class MalformedMessage extends Error {}
