// The life of a model's versions, and many inputs: node examples/direct/versions.js
import { createServing } from 'mlserving'

const serving = createServing('./examples/models')
await serving.ready()

// #region versions
const { models } = serving
await models.load('sentiment', '1.0') // beside 2.0, which goes on serving
await serving.predict('sentiment', { text: 'I love it' }, { version: '1.0' })

await models.switchVersion('sentiment', '1.0') // from here on 'latest' is 1.0; 2.0 stays loaded
const { version, reloaded } = await models.rollback('sentiment') // and back
console.log(version, reloaded)

await models.unload('sentiment', '1.0')
console.log(models.get('sentiment').versions.map((each) => `${each.version} ${each.state}`))
// #endregion

// #region many
const texts = ['I love it', 'I hate it', 'It is great']
const inputs = texts.map((text) => ({ text })) // or any async iterable: a stream, a cursor
for await (const { prediction } of serving.predictMany('sentiment', inputs, { maxInFlight: 16 })) {
  console.log(prediction)
}
// #endregion

await serving.close()
