import type { ModelConfiguration } from '../../src/http/v2-config.js'
import type { TensorMetadata } from '../../src/v2/metadata.js'
import type { DurationStatistics, ModelStatistics } from '../../src/http/v2-statistics.js'

/**
 * What the protocol tells over HTTP as its messages have it: with integers of 64 bits, and with numbers for the names of
 * an enumeration.
 */

export function metadataMessage({ shape, ...rest }: TensorMetadata) {
  return { ...rest, shape: int64s(shape) }
}

/** `inference.DataType`, by its numbers. */
const dataTypes = [
  'TYPE_INVALID',
  'TYPE_BOOL',
  'TYPE_UINT8',
  'TYPE_UINT16',
  'TYPE_UINT32',
  'TYPE_UINT64',
  'TYPE_INT8',
  'TYPE_INT16',
  'TYPE_INT32',
  'TYPE_INT64',
  'TYPE_FP16',
  'TYPE_FP32',
  'TYPE_FP64',
  'TYPE_STRING',
]

const instanceKinds = { KIND_GPU: 1, KIND_CPU: 2 } as const

export function configMessage({
  input,
  output,
  instance_group,
  dynamic_batching,
  ...rest
}: ModelConfiguration) {
  const tensor = ({ data_type, dims, ...named }: ModelConfiguration['input'][number]) => ({
    ...named,
    data_type: Math.max(0, dataTypes.indexOf(data_type)),
    dims: int64s(dims),
  })
  return {
    ...rest,
    input: input.map(tensor),
    output: output.map(tensor),
    instance_group: instance_group.map(({ kind, count }) => ({ kind: instanceKinds[kind], count })),
    ...(dynamic_batching !== undefined && { dynamic_batching: {} }),
  }
}

export function statisticsMessage({ inference_stats, batch_stats, ...counts }: ModelStatistics) {
  const { success, fail, queue, cache_hit, cache_miss } = inference_stats
  return {
    name: counts.name,
    version: counts.version,
    last_inference: BigInt(counts.last_inference),
    inference_count: BigInt(counts.inference_count),
    execution_count: BigInt(counts.execution_count),
    inference_stats: {
      success: duration(success),
      fail: duration(fail),
      queue: duration(queue),
      ...computed(inference_stats),
      cache_hit: duration(cache_hit),
      cache_miss: duration(cache_miss),
    },
    batch_stats: batch_stats.map((run) => ({ batch_size: BigInt(run.batch_size), ...computed(run) })),
  }
}

function computed(run: Omit<ModelStatistics['batch_stats'][number], 'batch_size'>) {
  return {
    compute_input: duration(run.compute_input),
    compute_infer: duration(run.compute_infer),
    compute_output: duration(run.compute_output),
  }
}

function duration({ count, ns }: DurationStatistics) {
  return { count: BigInt(count), ns: BigInt(ns) }
}

function int64s(shape: readonly number[]): BigInt64Array {
  return BigInt64Array.from(shape, BigInt)
}
