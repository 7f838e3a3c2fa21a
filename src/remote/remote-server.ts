import type { CallOptions } from '../client/call-limit.js'
import type { ModelCallOptions } from '../client/inference-client.js'
import type { InferRequest, InferResponse } from '../client/messages.js'
import type { ModelMetadata } from '../v2/metadata.js'

/** A server that models lie on, by whatever transport. Every method throws InferenceError. */
export interface RemoteServer {
  modelReady(model: string, options: ModelCallOptions): Promise<boolean>
  modelMetadata(model: string, options: ModelCallOptions): Promise<ModelMetadata>
  infer(model: string, request: InferRequest, options: CallOptions): Promise<Pick<InferResponse, 'outputs'>>
  /** Gives back what it holds. Default: nothing. */
  close?(): void
}
