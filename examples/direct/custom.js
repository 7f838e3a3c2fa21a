// A model of one's own code, and another that answers where it fails: node examples/direct/custom.js
// #region custom
import { createServing, custom, scored } from 'mlserving'
import { z } from 'zod'

const order = z.object({ item: z.string(), count: z.number().int().positive() })
const prices = new Map([['pear', 2]])

const serving = createServing({
  models: {
    price: custom({
      input: order,
      load: () => prices,
      run: (table, rows) =>
        rows.map(({ item, count }) => {
          const price = table.get(item)
          if (price === undefined) throw new Error(`no price for ${item}`)
          return scored(price * count, 1)
        }),
      cache: { ttlMs: 60_000 },
      fallback: 'estimate',
    }),
    estimate: custom({
      input: order,
      load: () => 3,
      run: (average, rows) => rows.map(({ count }) => scored(average * count, 0.1)),
    }),
  },
})

const exact = await serving.predict('price', { item: 'pear', count: 3 })
console.log(exact.prediction, exact.confidence, exact.meta.cache)
const again = await serving.predict('price', { count: 3, item: 'pear' })
console.log(again.prediction, again.confidence, again.meta.cache)
const guess = await serving.predict('price', { item: 'kiwi', count: 3 })
console.log(guess.prediction, guess.confidence, guess.meta.degraded, guess.meta.model)
// #endregion

await serving.close()
