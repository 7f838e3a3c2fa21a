/**
 * One of several processes on a folder. Arguments: the folder of the state, that of the model's versions. Takes
 * commands by lines, `switch 2`, `rollback` and `current`, and answers each with a line.
 *
 * A version whose folder holds a file `hold` is loading until that file is gone.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { createServing, custom } from 'mlserving'

const [stateDir = '', source = ''] = process.argv.slice(2)

const serving = createServing({
  models: {
    m: custom({
      source,
      current: '1',
      load: async ({ version, dir }) => {
        while (existsSync(join(dir, 'hold'))) await sleep(5)
        return version
      },
      run: (version, rows: number[]) => rows.map(() => version),
    }),
  },
  stateDir,
  replicas: { intervalMs: 50, deadAfterIntervals: 20, waitMs: 10_000 },
})

async function obey(line: string): Promise<string | undefined> {
  const [command, version = ''] = line.split(' ')
  switch (command) {
    case 'switch':
      return (await serving.models.switchVersion('m', version, { actor: `${process.pid}` })).current
    case 'rollback':
      return (await serving.models.rollback('m')).version
    case 'predict':
      return (await serving.predict('m', 1)).prediction
    default:
      return serving.models.get('m').current
  }
}

async function main(): Promise<void> {
  await serving.ready()
  console.log('ready')
  for await (const line of createInterface({ input: process.stdin })) {
    await obey(line).then(
      (answer) => console.log(answer),
      (error: unknown) => console.log((error as { code?: string }).code),
    )
  }
  await serving.close()
}

void main()
