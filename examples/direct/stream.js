// A model that answers piece by piece: node examples/direct/stream.js
// #region stream
import { setTimeout as later } from 'node:timers/promises'
import { createServing, custom } from 'mlserving'
import { z } from 'zod'

const serving = createServing({
  models: {
    story: custom({
      input: z.object({ about: z.string().max(100) }),
      load: () => ['Once there was ', ', which ', 'grew ', 'and grew.'],
      async *stream(pieces, { about }, { signal }) {
        for (const [i, piece] of pieces.entries()) {
          await later(10, undefined, { signal })
          yield i === 1 ? about + piece : piece
        }
      },
    }),
  },
})

for await (const piece of serving.predictStream('story', { about: 'a pear' }, { timeoutMs: 5000 })) {
  process.stdout.write(piece)
}

const { prediction } = await serving.predict('story', { about: 'a kiwi' })
console.log('\n%d pieces: %s', prediction.length, prediction.join(''))
// #endregion

await serving.close()
