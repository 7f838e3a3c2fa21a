/** How protobuf lays out a field's value: what its tag says beside the field's number. */
export const wire = { varint: 0, fixed64: 1, delimited: 2, fixed32: 5 } as const

export type Wire = (typeof wire)[keyof typeof wire]
