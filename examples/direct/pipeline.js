// Models made of other models: node examples/direct/pipeline.js
// #region pipeline
import { createServing, custom, pipeline } from 'mlserving'

const replies = new Map([
  ['positive', 'Thank you!'],
  ['negative', 'We are sorry to hear that.'],
])

const serving = createServing({
  repository: './examples/models',
  models: {
    template: custom({
      load: () => replies,
      run: (texts, /** @type {string[]} */ moods) => moods.map((mood) => texts.get(mood) ?? ''),
    }),
    // In a row: each is given the prediction of the one before.
    reply: pipeline(['sentiment', 'template']),
    // Or a function over predictions; the sentences of all callers are batched together, where the model is.
    review: pipeline(async (/** @type {{ text: string }} */ { text }, { predict }) => {
      const sentences = text.split(/(?<=[.!?]) /)
      const moods = await Promise.all(sentences.map((sentence) => predict('sentiment', { text: sentence })))
      return moods.map(({ prediction }, i) => `${prediction}: ${sentences[i]}`)
    }),
  },
})

const reply = await serving.predict('reply', { text: 'I love it' }, { timeoutMs: 2000 })
console.log(
  reply.prediction,
  reply.meta.stages?.map(({ model, version }) => `${model}@${version}`),
)
const review = await serving.predict('review', { text: 'I love the story. I hate the end.' })
console.log(review.prediction)
// #endregion

await serving.close()
