import { messageOf, ServingError, type ErrorCode } from '../errors.js'
import {
  checkFields,
  flag,
  integer,
  isPlainObject,
  oneOf,
  schemaOf,
  show,
  text,
  texts,
  type Field,
  type Fields,
} from '../options.js'

interface CpuProvider {
  readonly name: 'cpu'
}

interface GpuProvider<N extends 'cuda' | 'tensorrt' | 'dml'> {
  readonly name: N
  /** Which of the machine's devices. Default: 0. */
  readonly deviceId?: number
}

interface CoreMlProvider {
  readonly name: 'coreml'
  /** Bits of onnxruntime's COREMLFlags. Default: 0. */
  readonly coreMlFlags?: number
}

interface QnnProvider {
  readonly name: 'qnn'
  readonly backendType?: string
  readonly enableFp16Precision?: boolean
}

type BufferCacheMode = 'disabled' | 'lazyRelease' | 'simple' | 'bucket'

interface WebGpuProvider {
  readonly name: 'webgpu'
  readonly preferredLayout?: 'NCHW' | 'NHWC'
  readonly forceCpuNodeNames?: readonly string[]
  readonly validationMode?: 'disabled' | 'wgpuOnly' | 'basic' | 'full'
  readonly enableRobustness?: boolean
  readonly storageBufferCacheMode?: BufferCacheMode
  readonly uniformBufferCacheMode?: BufferCacheMode
  readonly queryResolveBufferCacheMode?: BufferCacheMode
  readonly defaultBufferCacheMode?: BufferCacheMode
}

type ProviderOptions =
  | CpuProvider
  | GpuProvider<'cuda'>
  | GpuProvider<'tensorrt'>
  | GpuProvider<'dml'>
  | CoreMlProvider
  | QnnProvider
  | WebGpuProvider

export type ProviderName = ProviderOptions['name']

/** An execution provider of onnxruntime-node, by name, or with its options under onnxruntime's own names. */
export type Provider = ProviderName | ProviderOptions

function gpuFields<N extends 'cuda' | 'tensorrt' | 'dml'>(name: N): Fields<GpuProvider<N>> {
  return { name: oneOf(name), deviceId: integer(0, 1023) }
}

const bufferCacheMode = oneOf('disabled', 'lazyRelease', 'simple', 'bucket')

/** The options that onnxruntime-node reads; it would take no notice of others. */
export const providerFields: { readonly [N in ProviderName]: Fields<Extract<ProviderOptions, { name: N }>> } =
  {
    cpu: { name: oneOf('cpu') },
    cuda: gpuFields('cuda'),
    tensorrt: gpuFields('tensorrt'),
    dml: gpuFields('dml'),
    coreml: { name: oneOf('coreml'), coreMlFlags: integer(0, 0xffff) },
    qnn: { name: oneOf('qnn'), backendType: text, enableFp16Precision: flag },
    webgpu: {
      name: oneOf('webgpu'),
      preferredLayout: oneOf('NCHW', 'NHWC'),
      forceCpuNodeNames: texts,
      validationMode: oneOf('disabled', 'wgpuOnly', 'basic', 'full'),
      enableRobustness: flag,
      storageBufferCacheMode: bufferCacheMode,
      uniformBufferCacheMode: bufferCacheMode,
      queryResolveBufferCacheMode: bufferCacheMode,
      defaultBufferCacheMode: bufferCacheMode,
    },
  }

const providerName = oneOf(...(Object.keys(providerFields) as ProviderName[]))

/** The model option `providers`. */
export const providersOption: Field<readonly Provider[]> = {
  expected: `a list of execution providers, each once, at least one: ${Object.keys(providerFields).join(', ')}`,
  get schema() {
    const objects = Object.values(providerFields).map((own) => schemaOf<ProviderOptions>(own, ['name']))
    return {
      type: 'array',
      items: { anyOf: [providerName.schema, ...objects] },
      minItems: 1,
      uniqueItems: true,
    }
  },
  accepts: (value): value is readonly Provider[] =>
    Array.isArray(value) && value.length > 0 && new Set(value.map(statedName)).size === value.length,
  inside: (providers, path, code) =>
    providers.forEach((provider, i) => checkProvider(provider, path, code, i)),
}

function statedName(provider: unknown): unknown {
  return isPlainObject(provider) ? provider.name : provider
}

function checkProvider(provider: unknown, path: string, code: ErrorCode, index: number): void {
  const at = `${path}[${index}]`
  const name = statedName(provider)
  if (!providerName.accepts(name)) {
    throw new ServingError(code, `${at} must be ${providerName.expected}; got ${show(name)}.`)
  }
  if (isPlainObject(provider)) checkFields<ProviderOptions>(provider, providerFields[name], at, code)
}

export function nameOf(provider: Provider): ProviderName {
  return typeof provider === 'string' ? provider : provider.name
}

/** A session, the providers it was made with, and why others are missing. */
export interface Provided<S> {
  readonly session: S
  readonly providers: readonly ProviderName[]
  readonly warnings: readonly string[]
}

export interface Fallback<S> {
  /** What messages call the model. */
  readonly path: string
  /** The providers this build of the runtime has; undefined where it does not tell. */
  readonly available: ReadonlySet<string> | undefined
  /** Makes a session, with all of the providers or not at all. */
  readonly create: (providers: readonly Provider[]) => Promise<S>
  readonly release: (session: S) => Promise<void>
}

/**
 * Makes a session with those of the wanted providers that can be had: onnxruntime fails where one of them is
 * missing, so the one that failed is left out and the others are tried.
 *
 * @throws what `create` threw with the CPU alone: then it is the model that can't be loaded
 * @throws ServingError INVALID_MODEL with the reason of each provider, where none can be had and the CPU was not
 *   among them
 */
export async function createWithFallback<S>(
  wanted: readonly Provider[],
  { path, available, create, release }: Fallback<S>,
): Promise<Provided<S>> {
  const failures: string[] = []
  let rest = wanted.filter((provider) => {
    const name = nameOf(provider)
    if (available === undefined || available.has(name)) return true
    failures.push(`"${name}": this build of onnxruntime-node does not have it`)
    return false
  })
  while (rest.length > 0) {
    try {
      const session = await create(rest)
      const warnings = failures.map((failure) => `${path}: not using the execution provider ${failure}`)
      return { session, providers: rest.map(nameOf), warnings }
    } catch (error) {
      const failed = blamed(rest, error, path)
      if (failed === undefined) throw error
      failures.push(`"${nameOf(failed)}": ${firstLine(error)}`)
      rest = rest.filter((provider) => provider !== failed)
    }
  }
  // A broken model fails with every provider, and then it is not the providers that are to be looked at.
  await release(await create(['cpu']))
  throw new ServingError(
    'INVALID_MODEL',
    `${path}: none of its execution providers can be used. ${failures.join('; ')}. With "cpu" as the last of them it would run on the CPU.`,
  )
}

/** The provider that a failure speaks of, else the first that is not the CPU; undefined where only the CPU is left. */
function blamed(providers: readonly Provider[], error: unknown, path: string): Provider | undefined {
  const others = providers.filter((provider) => nameOf(provider) !== 'cpu')
  const message = messageOf(error).replaceAll(path, '').toLowerCase()
  const named = others.filter((provider) => message.includes(nameOf(provider)))
  return named.length === 1 ? named[0] : others[0]
}

function firstLine(error: unknown): string {
  return messageOf(error).trim().split('\n', 1)[0] ?? ''
}
