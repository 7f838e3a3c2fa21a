// Serves every model under examples/models over HTTP, and over gRPC beside it: npm run example:grpc
// #region readme
import express from 'express'
import { createServing } from 'mlserving'
import { mlServing } from 'mlserving/express'
import { grpcServer } from 'mlserving/grpc'

const serving = createServing('./examples/models')
await serving.ready()

const http = express()
  .use(mlServing(serving))
  .listen(process.env.PORT ?? 8000)
const grpc = grpcServer(serving, { port: Number(process.env.GRPC_PORT ?? 8001) })
const grpcPort = await grpc.listen()
// #endregion

const { port } = /** @type {import('node:net').AddressInfo} */ (http.address())
console.log(`Serving ${serving.models.names().join(', ')} on http://127.0.0.1:${port}`)
console.log(`and over gRPC on 127.0.0.1:${grpcPort}. Try, with tritonclient[grpc] and numpy of Python:

  import numpy, tritonclient.grpc as triton
  client = triton.InferenceServerClient('127.0.0.1:${grpcPort}')
  text = triton.InferInput('text', [1], 'BYTES')
  text.set_data_from_numpy(numpy.array(['I love it'], dtype=object))
  print(client.infer('sentiment', [text]).as_numpy('probabilities'))
`)

// #region shutdown
for (const signal of ['SIGTERM', 'SIGINT']) {
  process.once(signal, () => {
    http.close()
    http.closeIdleConnections()
    // The calls under way first, then the models that they need.
    void grpc.close().then(() => serving.close())
  })
}
// #endregion
