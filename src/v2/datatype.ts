import type { DType } from '../tensor/tensor.js'

/** Element types by the names that the Open Inference Protocol gives them. */
export const datatypes = {
  bool: 'BOOL',
  uint8: 'UINT8',
  uint16: 'UINT16',
  uint32: 'UINT32',
  uint64: 'UINT64',
  int8: 'INT8',
  int16: 'INT16',
  int32: 'INT32',
  int64: 'INT64',
  float16: 'FP16',
  float32: 'FP32',
  float64: 'FP64',
  string: 'BYTES',
} as const satisfies Readonly<Record<DType, string>>

const dtypes = new Map<string, DType>(
  Object.entries(datatypes).map(([dtype, datatype]) => [datatype, dtype as DType]),
)

/** The element type of a name; undefined where the protocol, or the runtime, has none such. */
export function dtypeOf(datatype: unknown): DType | undefined {
  return typeof datatype === 'string' ? dtypes.get(datatype) : undefined
}

/** Every name there is, for messages. */
export const datatypeNames: readonly string[] = [...dtypes.keys()]
