/**
 * Makes one prediction and writes its answer, or the error's code and message, as JSON. Argument: the `.onnx` file
 * of an identity.
 */
import { createServing, onnx, ServingError } from 'mlserving'

async function main(): Promise<unknown> {
  const serving = createServing({ models: { identity: onnx({ source: process.argv[2] ?? '' }) } })
  await serving.ready()
  const { prediction } = await serving.predict('identity', { x: [1, 2, 3] })
  await serving.close()
  return { prediction }
}

void main()
  .catch((error: unknown) => (ServingError.is(error) ? { code: error.code, message: error.message } : error))
  .then((answer) => console.log(JSON.stringify(answer)))
