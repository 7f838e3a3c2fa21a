import { createServing, custom } from '../../../src/index.js'

/** Writes which of 2000 keys a canary of 5 % answers; `argv[2]` is a folder of the versions 1 and 2. */
async function main(source: string): Promise<void> {
  const m = custom({
    source,
    current: '1',
    load: ({ version }) => version,
    run: (version, rows: string[]) => rows.map(() => version),
  })
  await using serving = createServing({ models: { m } })
  await serving.models.canary('m', { version: '2', percent: 5 })
  const members: string[] = []
  for (let i = 0; i < 2000; i++) {
    const { meta } = await serving.predict('m', 'x', { key: `user-${i}` })
    if (meta.version === '2') members.push(`user-${i}`)
  }
  process.stdout.write(JSON.stringify(members))
}

void main(process.argv[2] ?? '')
