import { ServingError, type ErrorCode } from '../errors.js'
import {
  fields,
  flag,
  integer,
  isPlainObject,
  nearest,
  oneOf,
  provided,
  show,
  text,
  type Field,
  type Fields,
} from '../options.js'

/** Entries of onnxruntime's session configuration, nested or under dotted keys; every value is text. */
export interface ExtraOptions {
  readonly [key: string]: string | ExtraOptions
}

/** How onnxruntime loads and runs a model, under its own names. */
export interface SessionOptions {
  /** How far the graph is rewritten at load. Default: `"all"`. */
  readonly graphOptimizationLevel?: 'disabled' | 'basic' | 'extended' | 'layout' | 'all'
  /** Keeps freed memory for the next run. `false` saves memory and costs time. Default: true. */
  readonly enableCpuMemArena?: boolean
  /** Plans the memory of a run ahead, from the shapes of the first. Default: true. */
  readonly enableMemPattern?: boolean
  /** Whether branches of the graph run one after another. Default: `"sequential"`. */
  readonly executionMode?: 'sequential' | 'parallel'
  /** Threads among branches of the graph, where they run in parallel; they take no permits. Default: 1. */
  readonly interOpNumThreads?: number
  /** What the runtime writes to stderr: 0 verbose, 1 info, 2 warning, 3 error, 4 fatal. Default: 2. */
  readonly logSeverityLevel?: 0 | 1 | 2 | 3 | 4
  /** The name of the session in the runtime's log. */
  readonly logId?: string
  /**
   * Other entries of the session's configuration, nested or under dotted keys, such as
   * `{ "session.disable_prepacking": "1" }`. Default: threads do not spin while they wait.
   */
  readonly extra?: ExtraOptions
}

/** Options of onnxruntime's that are refused, with what to do instead. */
interface RefusedOptions {
  readonly intraOpNumThreads?: never
  readonly executionProviders?: never
  readonly freeDimensionOverrides?: never
  readonly logVerbosityLevel?: never
}

function refused(why: string): Field<never> {
  return provided(`left out: ${why}`, () => false)
}

export const sessionFields: Fields<SessionOptions & RefusedOptions> = {
  graphOptimizationLevel: oneOf('disabled', 'basic', 'extended', 'layout', 'all'),
  enableCpuMemArena: flag,
  enableMemPattern: flag,
  executionMode: oneOf('sequential', 'parallel'),
  interOpNumThreads: integer(1, 256),
  logSeverityLevel: integer(0, 4) as Fields<SessionOptions>['logSeverityLevel'],
  logId: text,
  extra: {
    expected: 'an object',
    schema: { type: 'object', additionalProperties: { type: ['string', 'object'] } },
    accepts: isPlainObject as Field<ExtraOptions>['accepts'],
    inside: checkExtra,
  },
  intraOpNumThreads: refused("it is the model's option intraOpThreads"),
  executionProviders: refused("it is the model's option providers"),
  // Neither name is in its binding, which would take them and do nothing.
  freeDimensionOverrides: refused('onnxruntime-node takes no notice of it'),
  logVerbosityLevel: refused('onnxruntime-node takes no notice of it'),
}

/** The model option `session`. */
export const sessionOption: Field<SessionOptions> = fields<SessionOptions>(sessionFields)

/**
 * The keys that onnxruntime 1.30 knows in a session's configuration (onnxruntime_session_options_config_keys.h),
 * without those that name a file, that are for models in memory, or that stand for an option above.
 */
const flagKeys: ReadonlySet<string> = new Set([
  'optimization.enable_cast_chain_elimination',
  'optimization.enable_gelu_approximation',
  'session.allow_released_opsets_only',
  'session.debug_layout_transformation',
  'session.disable_aot_function_inlining',
  'session.disable_cpu_ep_fallback',
  'session.disable_double_qdq_remover',
  'session.disable_model_compile',
  'session.disable_prepacking',
  'session.disable_qdq_constant_folding',
  'session.disable_quant_qdq',
  'session.enable_dq_matmulnbits_fusion',
  'session.enable_quant_qdq_cleanup',
  'session.fail_on_suboptimal_compiled_model',
  'session.force_spinning_stop',
  'session.inter_op.allow_spinning',
  'session.intra_op.allow_spinning',
  'session.qdqisint8allowed',
  'session.record_ep_graph_assignment_info',
  'session.set_denormal_as_zero',
  'session.strict_shape_type_inference',
  'session.use_device_allocator_for_initializers',
  'session.use_env_allocators',
  'session.use_memory_mapped_ort_model',
  'session.x64quantprecision',
])

const textKeys: ReadonlySet<string> = new Set([
  'mlas.disable_kleidiai',
  'mlas.enable_gemm_fastmath_arm64_bfloat16',
  'mlas.kleidiai.conv_igemm_max_work',
  'mlas.nchwc_pointwise_conv_max_input_channel_batch',
  'mlas.use_lut_gemm',
  'optimization.disable_specified_optimizers',
  'optimization.minimal_build_optimizations',
  'session.dynamic_block_base',
  'session.gqa_value_layout',
  'session.graph_optimizations_loop_level',
  'session.inter_op.spin_backoff_max',
  'session.inter_op.spin_duration_us',
  'session.intra_op.spin_backoff_max',
  'session.intra_op.spin_duration_us',
  'session.intra_op_thread_affinities',
  'session.layer_assignment_settings',
  'session.load_model_format',
  'session.max_shape_override',
  'session.name_based_layer_assignment',
  'session.qdq_matmulnbits_accuracy_level',
  'session.qdq_matmulnbits_block_size',
  'session.resource_cuda_partitioning_settings',
])

/** Each execution provider has keys of its own. */
const providerPrefix = 'ep.'

/** What onnxruntime allows. */
const longestKey = 128
const longestValue = 1024

function checkExtra(extra: ExtraOptions, path: string, code: ErrorCode): void {
  for (const [key, value] of entries(extra)) {
    const objection = objectionTo(key, value)
    if (objection !== undefined) throw new ServingError(code, `${path}: ${objection}`)
  }
}

function objectionTo(key: string, value: unknown): string | undefined {
  const isFlag = flagKeys.has(key)
  if (!isFlag && !textKeys.has(key) && !key.startsWith(providerPrefix)) {
    const near = nearest(key, [...flagKeys, ...textKeys])
    const hint = near === undefined ? '' : ` Did you mean "${near}"?`
    return `unknown or unsupported key ${show(key)}.${hint}`
  }
  if (key.length > longestKey) return `the key ${show(key)} is longer than ${longestKey} characters.`
  if (isFlag ? value === '0' || value === '1' : typeof value === 'string' && value.length <= longestValue) {
    return undefined
  }
  const expected = isFlag ? '"0" or "1"' : `a string of at most ${longestValue} characters`
  return `"${key}" must be ${expected}; got ${show(value)}.`
}

/** The leaves under dotted keys. Goes no deeper than a key may be long, so that nothing nests without end. */
function* entries(extra: object, prefix = ''): Generator<[key: string, value: unknown]> {
  for (const [name, value] of Object.entries(extra) as [string, unknown][]) {
    const key = prefix + name
    if (isPlainObject(value) && key.length <= longestKey) yield* entries(value, `${key}.`)
    else yield [key, value]
  }
}

/** `extra` under dotted keys, over our defaults. Of a key that is there twice the last counts. */
function flattened(extra: ExtraOptions): Record<string, string> {
  return {
    // Two or more threads that spin while idle take a core for themselves at 100 calls a second.
    'session.intra_op.allow_spinning': '0',
    'session.inter_op.allow_spinning': '0',
    ...(Object.fromEntries(entries(extra)) as Record<string, string>),
  }
}

/** A session's options as onnxruntime takes them. */
export function runtimeOptions({ extra = {}, ...options }: SessionOptions, intraOpThreads: number) {
  return {
    interOpNumThreads: 1,
    ...options,
    intraOpNumThreads: intraOpThreads,
    extra: flattened(extra),
  }
}
