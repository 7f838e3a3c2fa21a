import { ServingError } from '../errors.js'
import { CustomCodec } from './custom-model.js'
import type { ExposureOptions } from './exposure.js'
import type { Encoded, LoadedModel } from './loaded-model.js'
import type { CommonOptions } from './model-config.js'
import { quote } from './names.js'
import { PipelineRuns, type PipelineRun } from './pipeline-runs.js'
import type { StandardSchemaV1 } from './standard-schema.js'

/** A model that a pipeline asks, as far as the pipeline says so before it runs. */
export interface StageInfo {
  readonly model: string
  /** Default: the version that serves. */
  readonly version?: string
}

/** Everything a pipeline is served with. */
export interface PipelineVersionOptions extends CommonOptions, ExposureOptions {
  readonly input?: StandardSchemaV1 | undefined
  readonly cacheKey?: ((input: never) => string) | undefined
  readonly maxInFlight?: number | undefined
  readonly run: PipelineRun
  readonly stages: readonly StageInfo[]
  /** The stage that is given a caller's input as it is, where there is one. */
  readonly entry?: StageInfo | undefined
}

/** What a pipeline needs of the models around it. */
export interface StageHost {
  /** Makes sure that a stage is there. @throws ServingError MODEL_NOT_FOUND; as a load does */
  require(stage: StageInfo): Promise<void>
  /** How often the version that serves has changed, of any model. */
  readonly switches: number
}

const defaultMaxInFlight = 1024

/**
 * Makes a pipeline ready: sees to it that its stages are there, and loads the versions that it names.
 * @throws ServingError of the stage that is not there
 */
export async function openPipeline(
  label: string,
  options: PipelineVersionOptions,
  stages: StageHost,
  onRun: (computeMs: number) => void,
): Promise<LoadedModel> {
  await Promise.all(options.stages.map((stage) => requireStage(label, stage, stages)))
  const runs = new PipelineRuns(options.run, options.maxInFlight ?? defaultMaxInFlight, onRun)
  return {
    codec: new PipelineCodec(label, options, stages),
    pipeline: runs,
    died: new Promise(() => {}),
    close: async (isCutOff = false) => {
      if (isCutOff) runs.leave()
      await runs.ended()
    },
  }
}

async function requireStage(label: string, stage: StageInfo, stages: StageHost): Promise<void> {
  try {
    await stages.require(stage)
  } catch (error) {
    if (!ServingError.is(error)) throw error
    throw new ServingError(error.code, `${label}: stage ${quote(stage.model)}: ${error.message}`, {
      cause: error,
    })
  }
}

class PipelineCodec extends CustomCodec {
  constructor(
    label: string,
    options: PipelineVersionOptions,
    private readonly stages: StageHost,
  ) {
    super(label, options)
  }

  /** Other versions of its stages answer otherwise: what is kept is of those that serve now. */
  override key(encoded: Encoded): string {
    return `${this.stages.switches} ${super.key(encoded)}`
  }
}
