/**
 * Leaves its end to Node: nothing is closed. Arguments: the folder with `heavy.onnx`, the placement, and how many
 * predictions are still under way when the program's own code is through.
 */
import { join } from 'node:path'
import { createServing, onnx } from 'mlserving'

const [folder = '', placement = '', count = ''] = process.argv.slice(2)

async function main(): Promise<void> {
  const serving = createServing({
    models: {
      heavy: onnx({
        source: join(folder, 'heavy.onnx'),
        placement: placement === 'inline' ? 'inline' : 'thread',
      }),
    },
  })
  await serving.ready()
  for (let i = 0; i < Number(count); i++) {
    void serving.predict('heavy', { x: new Array<number>(64).fill(i) }).then(() => console.log('answered'))
  }
}

void main().then(() => console.log('through'))
