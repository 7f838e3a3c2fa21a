// The models of the example app: what each takes and gives follows from here.
// #region serving
import { classify, createServing, onnx, strings } from 'mlserving'
import { z } from 'zod'

export const serving = createServing({
  models: {
    sentiment: onnx({
      source: './examples/models/sentiment',
      input: z.object({ text: z.string().max(10_000) }),
      encode: ({ text }) => ({ text: strings([text]) }),
      decode: ({ probabilities }) => classify(probabilities, ['negative', 'positive']),
    }),
  },
})
// #endregion
