/** A session of one thread that runs what it is sent, in order. Its data is the model's path. */
import { parentPort, workerData } from 'node:worker_threads'
import { InferenceSession, Tensor } from 'onnxruntime-node'

const session = await InferenceSession.create(workerData, { intraOpNumThreads: 1 })

parentPort?.on('message', async ({ data, shape }) => {
  const { y } = await session.run({ x: new Tensor('float32', data, shape) })
  const output = /** @type {Float32Array<ArrayBuffer>} */ (y?.data)
  parentPort?.postMessage(output, [output.buffer])
})
parentPort?.postMessage('ready')
