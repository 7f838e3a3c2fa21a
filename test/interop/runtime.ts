import type * as Ort from 'onnxruntime-node'
import type { DType, Feeds, Tensor } from '../../src/tensor/tensor.js'

process.env['ORT_DISABLE_TELEMETRY'] = '1'

/** What onnxruntime-node itself answers, of all outputs or some. */
export async function answerOfRuntime(
  model: Uint8Array,
  feeds: Feeds,
  outputs?: readonly string[],
): Promise<Record<string, Tensor>> {
  const ort = await import('onnxruntime-node')
  const session = await ort.InferenceSession.create(model, { intraOpNumThreads: 1, logSeverityLevel: 3 })
  try {
    const given = Object.entries(feeds).map(([name, { dtype, shape, data }]) => [
      name,
      { type: dtype, dims: shape, data, location: 'cpu' },
    ])
    const asked = Object.fromEntries(given) as Ort.InferenceSession.FeedsType
    const results = await session.run(asked, outputs ?? session.outputNames)
    const taken = Object.entries(results).map(([name, { type, dims, data }]) => [
      name,
      { dtype: type as DType, shape: [...dims], data } as Tensor,
    ])
    return Object.fromEntries(taken) as Record<string, Tensor>
  } finally {
    await session.release()
  }
}
