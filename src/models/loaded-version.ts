import { BatchPlan, type FoundSize } from '../batching/batch-plan.js'
import { Batcher } from '../batching/batcher.js'
import { PredictionCache } from '../cache/prediction-cache.js'
import { sharedDispatcher } from '../execution/dispatcher.js'
import type { LearntModel } from './learnt.js'
import type { KeptAnswer, Queue } from './lease.js'
import type { BatchedModel, LoadedModel } from './loaded-model.js'
import { maxBatchSizeOf } from './model-config.js'
import type { VersionHost } from './version-host.js'

/** A run takes longer now and then: what is bound by time is held to so much less. */
const spareTime = 2

/** What serves while a version is loaded: its model, the queue and the batches before it, its cache. */
export class LoadedVersion {
  readonly batcher: Queue
  readonly cache: PredictionCache<KeptAnswer> | undefined
  /** Not of a pipeline, whose stages have their own. */
  readonly #plan: BatchPlan | undefined

  constructor(
    private readonly version: string,
    private readonly label: string,
    readonly model: LoadedModel,
    private readonly host: VersionHost,
  ) {
    const { cache } = host
    if (cache !== undefined)
      this.cache = new PredictionCache({ ...(cache !== true && cache), sizeOf: ({ bytes }) => bytes })
    if (model.pipeline !== undefined) this.batcher = model.pipeline
    else {
      this.#plan = this.#planOf(model)
      this.batcher = this.#batcherOf(model, this.#plan)
    }
  }

  #batcherOf({ executor, batchable }: BatchedModel, plan: BatchPlan): Batcher<unknown, unknown> {
    const { batching, maxQueueRows, maxQueueBytes, clock } = this.host
    const { maxDelayMs, maxBatchElements } = typeof batching === 'object' ? batching : {}
    return new Batcher(executor, batchable, {
      plan,
      label: this.label,
      ...(clock !== undefined && { clock }),
      ...(maxDelayMs !== undefined && { maxDelayMs }),
      ...(maxBatchElements !== undefined && { maxBatchElements }),
      ...(maxQueueRows !== undefined && { maxQueueRows }),
      ...(maxQueueBytes !== undefined && { maxQueueBytes }),
      onRun: (rows, computeMs) => this.host.onRun?.(this.version, rows, computeMs),
      turnstile: sharedDispatcher().turnstile(() => executor.width),
    })
  }

  /** Requests are kept apart until it is known that they may share a run. */
  #planOf({ batchSafety: { verdict, settled }, session }: BatchedModel): BatchPlan {
    const { batching, runTimeoutMs } = this.host
    if (verdict.by === 'declared' && !verdict.safe) return new BatchPlan()
    const isGiven = typeof batching === 'object' && batching.maxBatchSize !== undefined
    const { sha256 } = session?.inspection ?? {}
    const plan = new BatchPlan({
      maxBatchSize: maxBatchSizeOf(batching),
      learns: !isGiven,
      longestRunMs: runTimeoutMs === undefined ? undefined : runTimeoutMs / spareTime,
      learnt: sha256 === undefined ? undefined : this.host.learnt?.of(sha256).costs,
      onFound: (found) => this.host.info?.(`${this.label}: ${describeSize(found)}`),
    })
    if (!verdict.safe) plan.hold()
    void settled.then(({ safe }) => {
      if (safe) plan.release()
    })
    return plan
  }

  /** The batch sizes that were found to pay, by the signature of the inputs, the one that ran last first. */
  get batchSizes(): FoundSize[] {
    const found: FoundSize[] = []
    for (const [signature, { bestRows, gain }] of this.#plan?.curves() ?? []) {
      if (gain !== undefined) found.push({ signature, bestRows, gain })
    }
    return found
  }

  /** Hands on what was learnt of the artifact so far. */
  learn(): void {
    const { inspection: { sha256 } = {}, learned: layout } = this.model.session ?? {}
    if (sha256 === undefined || this.#plan === undefined) return
    const costs = this.#plan.toJSON()
    // What others learnt of the artifact stays where this one has nothing to say.
    const learnt: LearntModel = {
      ...(Object.keys(costs).length > 0 && { costs }),
      ...(layout !== undefined && { layout }),
    }
    if (Object.keys(learnt).length > 0) this.host.learnt?.put(sha256, learnt)
  }
}

function describeSize({ signature, bestRows, gain }: FoundSize): string {
  const inputs = signature === '' ? '' : ` of inputs ${signature}`
  if (bestRows === 1) return `batches${inputs} do not pay: a row costs the same alone`
  return `batches${inputs} of ${bestRows} rows pay: ${gain.toFixed(1)} times as many as single ones`
}
