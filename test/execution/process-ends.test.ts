import { beforeAll, describe, expect, it } from 'vitest'
import { endMany, kinds, prepareEnds, type Kind } from './ends.js'
import { bundle, run } from './program.js'
import { temporaryFolder } from './support.js'

const folder = temporaryFolder()
let ending: string
let naturalEnd: string
beforeAll(async () => {
  ending = await prepareEnds(folder)
  naturalEnd = await bundle('natural-end', folder)
})

describe.each(['thread', 'inline'] as const)('a process with a model in placement %s', (placement) => {
  it.each(Object.keys(kinds) as Kind[])(
    'may end by %s while inferences run and models load',
    async (kind) => {
      const { wrong } = await endMany(ending, folder, {
        kind,
        placement,
        count: placement === 'thread' ? 2 : 1,
      })
      expect(wrong).toEqual([])
    },
  )

  it('answers what is under way before it ends by itself', async () => {
    const { code, stdout, stderr } = await run(naturalEnd, [folder, placement, '5'])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout.trim().split('\n').sort()).toEqual([...new Array<string>(5).fill('answered'), 'through'])
  })

  it('is not kept from ending by an idle model', async () => {
    const { code, stdout } = await run(naturalEnd, [folder, placement, '0'])
    expect({ code, stdout }).toEqual({ code: 0, stdout: 'through\n' })
  })
})
