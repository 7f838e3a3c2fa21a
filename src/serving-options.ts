import { isLogger, type Logger } from './logger.js'
import type { Registry } from './metrics/registry.js'
import type { AnyModel } from './models/definition.js'
import { learntOption, type Learnt } from './models/learnt.js'
import { watchOption, type WatchOptions } from './models/watch-options.js'
import { fields, integer, isPlainObject, provided, text, type Fields } from './options.js'
import { replicaFields, type ReplicaOptions } from './state/replica-options.js'

export interface ServingOptions {
  /** The model of a request that names none. Default: the only model, where there is one. */
  readonly defaultModel?: string
  /** Default: warnings and errors go to the console. */
  readonly logger?: Logger
  /** Where the metrics go, prom-client's `register` for instance. Default: a registry of its own. */
  readonly registry?: Registry
  /**
   * Cores that the sessions of the process compute on together; the last serving to say so is heeded. Default: the
   * cores, or the cgroup's quota where that is less. A worker of a cluster can't count its siblings: its host says.
   */
  readonly permits?: number
  /**
   * How far behind the event loop may be, in milliseconds: a request that comes while it is further is refused with
   * OVERLOADED, rather than wait with all others. It stays ready: else all replicas would leave together. 0: any.
   * Default: 1000.
   */
  readonly maxEventLoopDelayMs?: number
  /** What another process has learnt of the same artifacts: `serving.models.learned()`. Default: nothing. */
  readonly learned?: Learnt
  /** How long `close` waits for requests under way before it refuses them, in milliseconds. Default: 30,000. */
  readonly drainTimeoutMs?: number
  /**
   * Looks again and again for models, versions and configuration that changed: in the repository, and in each model's own
   * folder. `true` takes the defaults. Default: off, folders are read once.
   */
  readonly watch?: true | WatchOptions
  /**
   * A folder for what is kept on disk: artifacts that were fetched or given as bytes, and what the processes that share it
   * have decided to serve, which outlives them. Default: the user's cache folder, and the process decides alone.
   */
  readonly stateDir?: string
  /** How the processes of `stateDir` agree. */
  readonly replicas?: ReplicaOptions
  /**
   * Models that may be loaded, or being loaded, at once: beyond it, lazy ones that nobody uses are unloaded, the least
   * recently used first. Default: any number.
   */
  readonly maxLoadedModels?: number
  /**
   * Bytes that loaded artifacts may take together: the size of their files in each session, twice that while one is
   * created. Lazy models make room as for `maxLoadedModels`. Default: any number.
   */
  readonly memoryLimitBytes?: number
}

export interface CreateServingOptions extends ServingOptions {
  /** Models by name, made by {@link onnx}, {@link custom}, {@link pipeline}, or `remote` of `mlserving/remote`. */
  readonly models?: Readonly<Record<string, AnyModel>>
  /** A folder of `<model>/<version>/model.onnx`, all of which are served. */
  readonly repository?: string
}

export const servingFields: Fields<CreateServingOptions> = {
  defaultModel: text,
  logger: provided('a logger with debug, info, warn and error', isLogger),
  registry: provided("prom-client's Registry", (value) => isPlainObject(value) && 'getSingleMetric' in value),
  models: provided('an object of models by name', isPlainObject),
  repository: text,
  permits: integer(1, 1024),
  maxEventLoopDelayMs: integer(0),
  learned: learntOption,
  drainTimeoutMs: integer(0, 2 ** 31 - 1),
  watch: watchOption,
  stateDir: text,
  maxLoadedModels: integer(1),
  memoryLimitBytes: integer(1),
  replicas: fields(replicaFields),
}
