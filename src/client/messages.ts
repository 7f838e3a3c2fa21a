import type { DType, Tensor } from '../tensor/tensor.js'

/** Values of the protocol's `parameters`. */
export type Parameters = Readonly<Record<string, string | number | boolean>>

/** A tensor to send. */
export type InferInput = Tensor & { readonly parameters?: Parameters }

/** A tensor that came; the data is its own. */
export type InferOutput<T extends Tensor = Tensor> = T & { readonly parameters?: Parameters }

/** An output that is wanted, and what the server is to do with it, such as `{ classification: 3 }`. */
export interface RequestedOutput {
  readonly name: string
  readonly parameters?: Parameters
}

/** The outputs that are wanted: their names, or their dtypes by name, which are checked and typed. */
export type RequestedOutputs = readonly (string | RequestedOutput)[] | Readonly<Record<string, DType>>

export interface InferRequest<S extends RequestedOutputs = readonly string[]> {
  /** By the names of the model's inputs. */
  readonly inputs: Readonly<Record<string, InferInput>>
  /** Default: all that the model gives. */
  readonly outputs?: S
  /** Default: the version that serves. */
  readonly version?: string | undefined
  /** Comes back as it is. Default: none. */
  readonly id?: string | undefined
  /** For the server, such as `priority` and `timeout`. Default: none. */
  readonly parameters?: Parameters | undefined
}

export interface InferResponse<S extends RequestedOutputs = readonly string[]> {
  readonly outputs: OutputsOf<S>
  readonly modelName: string
  readonly modelVersion?: string
  readonly id?: string
  readonly parameters?: Parameters
}

export type OutputsOf<S> = S extends readonly (infer E)[]
  ? Readonly<Record<E extends { readonly name: infer N extends string } ? N : E & string, InferOutput>>
  : { readonly [K in keyof S]: InferOutput<Extract<Tensor, { dtype: S[K] }>> }

/** A model version of the server's repository. */
export interface RepositoryEntry {
  readonly name: string
  readonly version?: string
  readonly state?: 'READY' | 'LOADING' | 'UNLOADING' | 'UNAVAILABLE'
  readonly reason?: string
}

/** How often something happened, and how long it took altogether. */
export interface StatisticDuration {
  readonly count: number
  readonly ns: number
}

/** What a server counted of a model version, by the names of the statistics extension. */
export interface ModelStatistics {
  readonly name: string
  readonly version: string
  /** Milliseconds since the epoch. */
  readonly last_inference?: number
  /** Rows. */
  readonly inference_count?: number
  /** Runs. */
  readonly execution_count?: number
  readonly inference_stats?: Readonly<Record<string, StatisticDuration>>
  readonly batch_stats?: readonly ({ readonly batch_size: number } & Readonly<
    Record<string, StatisticDuration | number>
  >)[]
}
