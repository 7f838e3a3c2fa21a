import { readFileSync } from 'node:fs'
import type * as Ort from 'onnxruntime-node'
import type { Feeds, Tensor } from '../../src/tensor/tensor.js'
import type { DType } from '../../src/tensor/tensor.js'

process.env['ORT_DISABLE_TELEMETRY'] = '1'

/** What onnxruntime-node itself answers. */
export async function answerOfRuntime(
  model: string | Uint8Array,
  feeds: Feeds,
): Promise<Record<string, Tensor>> {
  const ort = await import('onnxruntime-node')
  const bytes = typeof model === 'string' ? readFileSync(model) : model
  const session = await ort.InferenceSession.create(bytes, { intraOpNumThreads: 1, logSeverityLevel: 3 })
  try {
    const given = Object.entries(feeds).map(([name, { dtype, shape, data }]) => [
      name,
      { type: dtype, dims: shape, data, location: 'cpu' },
    ])
    const results = await session.run(Object.fromEntries(given) as Ort.InferenceSession.FeedsType)
    const taken = Object.entries(results).map(([name, { type, dims, data }]) => [
      name,
      { dtype: type as DType, shape: [...dims], data } as Tensor,
    ])
    return Object.fromEntries(taken) as Record<string, Tensor>
  } finally {
    await session.release()
  }
}
