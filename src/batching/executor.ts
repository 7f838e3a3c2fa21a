/** How inputs of one kind are joined to a batch, and results cut apart. Rows are counted along the batch axis. */
export interface Batchable<I, R> {
  rows(input: I): number
  bytes(input: I): number
  /** How many elements a row has, where inputs of different sizes share a batch; else 0. */
  rowElements(input: I): number
  /** Inputs of different signatures never share a batch. */
  signature(input: I): string
  concat(inputs: readonly I[]): I
  slice(input: I, from: number, to: number): I
  /** @param input the one that the rows `from` to `to` of the result answer */
  sliceResult(result: R, from: number, to: number, input: I): R
  concatResults(results: readonly R[]): R
}

export interface BatchResult<R> {
  readonly result: R
  readonly computeMs: number
  /** The time may hold what the event loop did before the run. */
  readonly isRough?: boolean | undefined
}

export interface RunContext {
  /** Aborts once no request of the batch waits for its answer any more. Made when it is first read. */
  readonly signal: AbortSignal
}

/** What runs batches. */
export interface Executor<I, R> {
  /** How many batches may be handed over at once; those beyond the first wait where it runs. */
  readonly slots: number
  /** Permits that one run takes; 0 where it takes none, and so needs nobody's leave. */
  readonly width: number
  /** Whether a run may take any time, and can be left behind. Default: false, a run ends by itself. */
  readonly mayHang?: boolean
  /** Takes ownership of the batch. */
  run(batch: I, context: RunContext): Promise<BatchResult<R>>
}
