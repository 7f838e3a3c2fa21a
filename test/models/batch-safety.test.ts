import { describe, expect, it } from 'vitest'
import { createServing, custom, onnx } from '../../src/index.js'
import type { Logger } from '../../src/logger.js'
import { AutomaticProof } from '../../src/models/batch-safety.js'
import { FakeSession } from '../execution/fake-session.js'
import { modelFolder } from '../execution/support.js'
import { dynamicallyQuantised, meanInsideIf, rowModel } from '../onnx/coupled.js'
import { fixedBatch, mlp } from '../onnx/models.js'
import { treeEnsemble } from '../onnx/row-wise.js'
import { int64, node } from '../onnx/writer.js'

const write = modelFolder()
let count = 0

/** The last verdict on a model, and what the log said of it. */
async function verdictOn(bytes: Uint8Array, options: Partial<Parameters<typeof onnx>[0]> = {}) {
  const lines: string[] = []
  const line = (level: string) => (_: object, message: string) => void lines.push(`${level}: ${message}`)
  const logger: Logger = { debug: () => {}, info: line('info'), warn: line('warn'), error: line('error') }
  const { path } = write(`m${count++}`, bytes)
  const serving = createServing({ logger, models: { m: onnx({ ...options, source: path }) } })
  try {
    await serving.ready()
    const said = () => lines.filter((text) => text.includes('share a run'))
    await expect.poll(said).toHaveLength(1)
    return { ...serving.models.get('m').versions[0]?.batching, log: said()[0] }
  } finally {
    await serving.close()
  }
}

describe('a verdict on batching', () => {
  it('is "proven" where the graph and runs speak for it, and logged', async () => {
    expect(await verdictOn(mlp())).toEqual({
      safe: true,
      by: 'proven',
      reason: 'answers were the same alone and beside other rows',
      log: 'info: m@1: requests may share a run (proven): answers were the same alone and beside other rows',
    })
    expect(await verdictOn(treeEnsemble(), { placement: 'thread' })).toMatchObject({
      safe: true,
      by: 'proven',
    })
    expect(await verdictOn(mlp(), { placement: 'thread', instances: 2 })).toMatchObject({ by: 'proven' })
  })

  it('is "refused" with the operator that couples rows', async () => {
    const reason = 'DynamicQuantizeLinear quantises by the largest and smallest value of all rows'
    expect(await verdictOn(dynamicallyQuantised())).toMatchObject({ safe: false, by: 'refused', reason })
    expect(await verdictOn(meanInsideIf(), { placement: 'inline' })).toMatchObject({
      by: 'refused',
      reason: 'ReduceMean "inside" reduces over the rows',
    })
  })

  it('is "refused" where an input has no rows', async () => {
    expect(await verdictOn(fixedBatch())).toMatchObject({ safe: false, by: 'refused' })
  })

  it('is "unproven" where the model takes none of the rows that it is tried with', async () => {
    // Each row must have a length that is divisible by 5.
    const nodes = [node('Reshape', ['x', 'fives'], ['split']), node('Reshape', ['split', 'rows'], ['y'])]
    const shapes = [int64('fives', [3], [0, -1, 5]), int64('rows', [2], [0, -1])]
    const found = await verdictOn(rowModel(nodes, shapes, { x: ['rows', 'length'] }))
    expect(found).toMatchObject({
      safe: false,
      by: 'unproven',
      reason: expect.stringMatching(/^rows to try it with/),
    })
  })

  it('is "declared" by true, false, and limits with safe; limits alone only tune, and are warned of in vain', async () => {
    expect(await verdictOn(meanInsideIf(), { batching: true })).toMatchObject({ safe: true, by: 'declared' })
    expect(await verdictOn(mlp(), { batching: false })).toMatchObject({ safe: false, by: 'declared' })
    const limits = { maxBatchSize: 4 }
    expect(await verdictOn(meanInsideIf(), { batching: { ...limits, safe: true } })).toMatchObject({
      by: 'declared',
    })
    expect(await verdictOn(mlp(), { batching: limits })).toMatchObject({ safe: true, by: 'proven' })
    const { by, log } = await verdictOn(meanInsideIf(), { batching: limits })
    expect(by).toBe('refused')
    expect(log).toMatch(/^warn: m@1: requests do not share a run/)
  })

  it('on a custom model is its author’s', async () => {
    const run = (_: undefined, rows: number[]) => rows
    const serving = createServing({
      models: {
        plain: custom({ load: () => undefined, run }),
        joined: custom({ load: () => undefined, run, batching: { maxBatchSize: 2 } }),
      },
    })
    await serving.ready()
    expect(serving.models.get('plain').versions[0]?.batching).toMatchObject({ safe: false, by: 'declared' })
    expect(serving.models.get('joined').versions[0]?.batching).toMatchObject({ safe: true, by: 'declared' })
    await serving.close()
  })
})

describe('an automatic proof', () => {
  const inspected = (session: FakeSession, coupling?: string) =>
    Object.assign(session, { inspection: { coupling, sha256: '' } })

  it('runs nothing where the graph speaks against it', async () => {
    const session = inspected(new FakeSession(), 'Softmax normalises over the rows')
    const proof = new AutomaticProof(session)
    expect(proof.verdict).toMatchObject({ safe: false, by: 'unproven' })
    expect(await proof.settled).toMatchObject({ by: 'refused' })
    expect(proof.verdict).toMatchObject({ by: 'refused' })
    expect(session.runs).toBe(0)
  })

  it('ends with the first run that takes too long', async () => {
    const session = inspected(new FakeSession('thread', () => 101))
    expect(await new AutomaticProof(session).settled).toEqual({
      safe: false,
      by: 'unproven',
      reason: 'rows to try it with failed: one takes 101.0 ms, and more than 100 are not tried',
    })
    expect(session.runs).toBe(1)
  })

  it('tries no batch that might take longer than a run may', async () => {
    const session = inspected(new FakeSession('thread', () => 30))
    expect(await new AutomaticProof(session, 200).settled).toMatchObject({
      by: 'unproven',
      reason: 'rows to try it with failed: one takes 30.0 ms, and more than 25 are not tried',
    })
    expect(session.runs).toBe(1)
    const short = inspected(new FakeSession('thread', (rows) => 20 * rows))
    expect(await new AutomaticProof(short, 200).settled).toMatchObject({ by: 'proven' })
  })

  it('settles where the session is closed before', async () => {
    const session = inspected(new FakeSession())
    session.held = true
    const proof = new AutomaticProof(session)
    await expect.poll(() => session.waiting).toBe(1)
    session.die()
    expect(await proof.settled).toMatchObject({ safe: false, by: 'unproven' })
  })
})
