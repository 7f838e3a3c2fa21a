/**
 * One of several processes on a folder. Arguments: the folder of the state, that of the model's versions, and versions
 * that fail at every request. Takes commands by lines, such as `switch 2`, and answers each with a line.
 *
 * A version whose folder holds a file `hold` is loading until that file is gone.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { createServing, custom } from 'mlserving'

const [stateDir = '', source = '', ...failing] = process.argv.slice(2)

const serving = createServing({
  models: {
    m: custom({
      source,
      current: '1',
      labels: { configured: '1' },
      load: async ({ version, dir }) => {
        while (existsSync(join(dir, 'hold'))) await sleep(5)
        return version
      },
      run: (version, rows: number[]) => {
        if (failing.includes(version)) throw new Error(`${version} fails`)
        return rows.map(() => version)
      },
    }),
  },
  stateDir,
  logger: { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} },
  replicas: { intervalMs: 50, deadAfterIntervals: 40, waitMs: 10_000 },
})
const { models } = serving
const origin = { actor: `${process.pid}` }

const commands: Record<string, (first: string, second: string) => Promise<unknown>> = {
  id: async () => models.replicas?.id,
  /** What it tells the others of the model. */
  heartbeat: async () => {
    const live = await models.replicas?.live()
    return live?.find(({ id }) => id === models.replicas?.id)?.models.m
  },
  current: async () => models.get('m').current,
  /** All that a replica may have decided. */
  model: async () => {
    const { current, labels, canary, versions } = models.get('m')
    const quarantined = versions.filter((one) => one.quarantined !== undefined).map(({ version }) => version)
    return { current, labels, canary, quarantined }
  },
  switch: async (version) => (await models.switchVersion('m', version, origin)).current,
  rollback: async () => (await models.rollback('m', origin)).version,
  label: async (label, version) => (await models.setLabel('m', label, version, origin)).labels,
  unlabel: async (label) => (await models.removeLabel('m', label, origin)).labels,
  canary: async (version, percent) =>
    (await models.canary('m', { version, percent: Number(percent) }, origin)).canary,
  endcanary: async () => (await models.endCanary('m', origin)).current,
  quarantine: async (version) => (await models.quarantine('m', version, 'wrong answers', origin)).current,
  release: async (version) => (await models.release('m', version, origin)).current,
  /** Whether it takes steps of 50 and 100 percent, or stays in the first for long. */
  rollout: async (version, pace) =>
    (
      await models.startRollout(
        'm',
        {
          version,
          steps: [50, 100],
          minRequests: pace === 'slow' ? 100_000 : 50,
          minStepMs: 0,
          significance: 0.05,
          guards: { errorRatio: { maxIncrease: 0.2 } },
        },
        origin,
      )
    ).phase,
  abort: async () => (await models.abortRollout('m', origin)).phase,
  status: async () => models.rolloutOf('m'),
  predict: async () => (await serving.predict('m', 1)).prediction,
  /** Asks so often, and answers how many requests failed. */
  ask: async (count) => {
    let failed = 0
    for (let i = 0; i < Number(count); i++) await serving.predict('m', i).catch(() => failed++)
    return failed
  },
  /** The keys below a number that the canary has. */
  keys: async (count) => {
    const taken: number[] = []
    for (let i = 0; i < Number(count); i++) {
      if ((await serving.predict('m', i, { key: `user-${i}` })).meta.version !== '1') taken.push(i)
    }
    return taken
  },
}

async function obey(line: string): Promise<string> {
  const [command = '', first = '', second = ''] = line.split(' ')
  const answer = await commands[command]?.(first, second)
  return typeof answer === 'string' ? answer : JSON.stringify(answer ?? null)
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
