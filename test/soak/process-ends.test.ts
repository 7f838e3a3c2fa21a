import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { endMany, kinds, prepareEnds, type Kind } from '../execution/ends.js'
import { bundle, run } from '../execution/program.js'
import { temporaryFolder } from '../execution/support.js'
import { loopModel } from '../onnx/models.js'

const folder = temporaryFolder()
let program: string
beforeAll(async () => {
  program = await prepareEnds(folder)
})

const figures: Record<string, unknown>[] = []
afterAll(() => console.table(figures))

describe.each([
  { placement: 'thread', count: 50 },
  { placement: 'inline', count: 15 },
] as const)('a process with a model in placement $placement', ({ placement, count }) => {
  it.each(Object.keys(kinds) as Kind[])(`may end by %s, ${count} times, at any moment`, async (kind) => {
    const { wrong, seen, answers, loads } = await endMany(program, folder, { kind, placement, count })
    figures.push({ placement, kind, ...seen, answers, loads })
    expect(wrong).toEqual([])
    // They were busy, not merely on their way.
    expect(answers).toBeGreaterThan(0)
    expect(loads).toBeGreaterThan(0)
  })
})

it('is killed where a run does not end, and says why', async () => {
  writeFileSync(join(folder, 'endless.onnx'), loopModel({ ms: 300_000 }))
  const { signal, stderr } = await run(await bundle('endless-run', folder), [folder])
  expect(signal).toBe('SIGKILL')
  expect(stderr).toMatch(/a run did not end within \d+ ms/)
})
