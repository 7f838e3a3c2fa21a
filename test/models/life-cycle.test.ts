import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, expect, it } from 'vitest'
import { custom, onnx } from '../../src/index.js'
import { identityModel } from '../onnx/models.js'
import { history, live } from './life-cycle.js'
import { writeInto } from './temporary-repository.js'

const folder = mkdtempSync(join(tmpdir(), 'mlserving-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
for (const version of ['1', '2', '3']) {
  mkdirSync(join(folder, 'code', version), { recursive: true })
  writeInto(folder, `onnx/${version}/model.onnx`, version === '3' ? 'no model' : identityModel())
}

/** Each takes a tenth of a second; the soak lives 500. */
const realHistories = process.env.MODE === 'soak' ? 500 : 40

/** Longer than a step, so that others happen meanwhile. */
const aWhile = () => new Promise((resolve) => setImmediate(() => setImmediate(resolve)))

it('of 500 histories of changes and requests none loses a request, a lease or a resource', async () => {
  await fc.assert(
    fc.asyncProperty(history, async (lived) => {
      let [loaded, disposed, running] = [0, 0, 0]
      const model = custom({
        source: join(folder, 'code'),
        concurrency: 1,
        lazy: lived.lazy,
        keepPrevious: lived.keepPrevious,
        load: async ({ version }) => {
          await aWhile()
          if (version === '3') throw new Error('no model')
          loaded++
          return { alive: true }
        },
        run: async (resource, rows: { x: number[] }[]) => {
          running++
          await aWhile()
          // A request never meets a resource that was taken away.
          expect(resource.alive).toBe(true)
          running--
          return rows.map(({ x }) => x)
        },
        dispose: (resource) => {
          resource.alive = false
          disposed++
        },
      })
      await live(model, lived)
      expect({ disposed, running }).toEqual({ disposed: loaded, running: 0 })
    }),
    { numRuns: 500 },
  )
})

it(`of ${realHistories} such histories of real models none leaves a worker behind`, async () => {
  let workers = 0
  const count = (worker: { once: (event: 'exit', listener: () => void) => void }) => {
    workers++
    worker.once('exit', () => workers--)
  }
  process.on('worker', count)
  try {
    await fc.assert(
      fc.asyncProperty(history, async (lived) => {
        const source = join(folder, 'onnx')
        await live(
          onnx({ source, placement: 'thread', lazy: lived.lazy, keepPrevious: lived.keepPrevious }),
          lived,
        )
        await expect.poll(() => workers).toBe(0)
      }),
      { numRuns: realHistories },
    )
  } finally {
    process.off('worker', count)
  }
})
