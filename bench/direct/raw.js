/** onnxruntime-node itself, without anything around it: what mlserving is compared to. */
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'

process.env.ORT_DISABLE_TELEMETRY = '1'
const { InferenceSession, Tensor } = await import('onnxruntime-node')

/**
 * A session on this thread, as one writes it first: naive code, unless `options` say better.
 * @param {string} path
 * @param {readonly number[]} shape of the input `x`, rows first
 * @param {import('onnxruntime-node').InferenceSession.SessionOptions} [options]
 */
export async function rawSession(path, shape, options) {
  const session = await InferenceSession.create(path, options)
  const input = ramp(sizeOf(shape))
  return () => session.run({ x: new Tensor('float32', input, shape) })
}

/**
 * Sessions of one thread each in workers of their own. Called four at a time, two workers always have two runs ahead.
 * @param {string} path
 * @param {readonly number[]} shape of the input `x`, rows first
 * @param {number} count
 */
export async function rawWorkers(path, shape, count = 2) {
  const workers = await Promise.all(Array.from({ length: count }, () => RawWorker.start(path)))
  const input = ramp(sizeOf(shape))
  return {
    run: () => {
      const idlest = workers.reduce((a, b) => (b.pending < a.pending ? b : a))
      // A copy, since it is given away: the input of a request is its own as well.
      return idlest.run(input.slice(), shape)
    },
    close: () => Promise.all(workers.map((worker) => worker.close())),
  }
}

class RawWorker {
  /** @type {((output: unknown) => void)[]} */
  #answers = []

  /** @param {Worker} worker */
  constructor(worker) {
    this.worker = worker
    worker.on('message', (output) => this.#answers.shift()?.(output))
  }

  /** @param {string} path */
  static async start(path) {
    const worker = new Worker(new URL('./raw-worker.js', import.meta.url), { workerData: path })
    await once(worker, 'message')
    return new RawWorker(worker)
  }

  get pending() {
    return this.#answers.length
  }

  /**
   * @param {Float32Array<ArrayBuffer>} data
   * @param {readonly number[]} shape
   */
  run(data, shape) {
    this.worker.postMessage({ data, shape }, [data.buffer])
    return new Promise((resolve) => this.#answers.push(resolve))
  }

  /** To be called when nothing is under way: a worker that is stopped within a run aborts the process. */
  async close() {
    await this.worker.terminate()
  }
}

/** @param {readonly number[]} shape */
export function sizeOf(shape) {
  return shape.reduce((product, dimension) => product * dimension, 1)
}

/** @param {number} length */
export function ramp(length) {
  return Float32Array.from({ length }, (_, i) => (i % 64) / 64)
}
