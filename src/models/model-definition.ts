import type { BackendVersionOptions } from './backend.js'
import type { CustomVersionOptions } from './custom-model.js'
import type { OnnxVersionOptions } from './onnx-model.js'
import type { PipelineVersionOptions } from './pipeline-model.js'
import type { ModelSource } from './sources/model-source.js'

/** A model to serve, as `createServing` hands it over. */
export type ModelDefinition =
  | { readonly kind: 'onnx'; readonly source: ModelSource; readonly options: OnnxVersionOptions }
  | { readonly kind: 'custom'; readonly source: string | undefined; readonly options: CustomVersionOptions }
  | { readonly kind: 'backend'; readonly source: undefined; readonly options: BackendVersionOptions }
  | { readonly kind: 'pipeline'; readonly source: undefined; readonly options: PipelineVersionOptions }
