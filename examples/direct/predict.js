// Predicts without HTTP, and changes versions under way: npm run example:direct
// #region readme
import { classify, createServing, onnx, strings } from 'mlserving'

const serving = createServing({
  models: {
    sentiment: onnx({
      source: './examples/models/sentiment',
      encode: (/** @type {{ text: string }} */ input) => ({ text: strings([input.text]) }),
      decode: ({ probabilities }) => classify(probabilities, ['negative', 'positive']),
    }),
  },
})

const result = await serving.predict('sentiment', { text: 'I love it' })
console.log(result.prediction, result.confidence, result.meta.version)
// #endregion

await serving.models.load('sentiment', '1.0')
await serving.models.switchVersion('sentiment', '1.0')
const switched = await serving.predict('sentiment', { text: 'I love it' })
console.log(switched.prediction, switched.confidence, switched.meta.version)

await serving.close()
