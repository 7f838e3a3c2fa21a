import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { createServing, custom, onnx } from '../../src/index.js'
import type { AnyServing } from '../../src/serving.js'
import { addExternal, mlp } from '../onnx/models.js'
import { quietLogger } from './quiet-logger.js'
import { temporaryRepository, writeInto } from './temporary-repository.js'

const lazy = { lazy: true, idleUnloadMs: 20, placement: 'inline' } as const
const changed = {
  code: 'MODEL_NOT_READY',
  cause: { code: 'INVALID_MODEL', message: expect.stringContaining('has changed since it was loaded') },
}

/** Serves the model `m` of a repository. */
function serve(root: string, options: object = {}): AnyServing {
  const serving = createServing({ repository: root, logger: quietLogger(), ...options })
  onTestFinished(() => serving.close())
  return serving
}

const row = { x: [1, 2, 3, 4] }
const state = (serving: AnyServing, version = '1') =>
  serving.models.get('m').versions.find((one) => one.version === version)?.state

async function asleep(serving: AnyServing, version = '1'): Promise<void> {
  await vi.waitFor(() => expect(state(serving, version)).toBe('unloaded'))
}

describe('a version whose files were replaced', () => {
  it('is not served again by its name after it was idle, until they are as they were', async () => {
    const root = temporaryRepository({ 'm/1/model.onnx': mlp([4, 2], 1), 'm/model.json': lazy })
    const serving = serve(root)
    const { prediction } = await serving.predict('m', row)
    await asleep(serving)
    writeInto(root, 'm/1/model.onnx', mlp([4, 2], 2))
    await expect(serving.predict('m', row)).rejects.toMatchObject(changed)
    writeInto(root, 'm/1/model.onnx', mlp([4, 2], 1))
    await vi.waitFor(async () => expect(await serving.predict('m', row)).toMatchObject({ prediction }))
  })

  it('is read anew once somebody has unloaded it, and then loads it', async () => {
    const root = temporaryRepository({ 'm/1/model.onnx': mlp([4, 2], 1), 'm/model.json': lazy })
    const serving = serve(root)
    const { prediction } = await serving.predict('m', row)
    await asleep(serving)
    writeInto(root, 'm/1/model.onnx', mlp([4, 2], 2))
    await expect(serving.predict('m', row)).rejects.toMatchObject(changed)
    await serving.models.unload('m')
    await serving.models.load('m', '1')
    expect(await serving.predict('m', row)).not.toMatchObject({ prediction })
  })

  it('does not come back by a rollback', async () => {
    const root = temporaryRepository({
      'm/1/model.onnx': mlp([4, 2], 1),
      'm/2/model.onnx': mlp([4, 2], 2),
      'm/model.json': { current: '1', keepPrevious: 0, placement: 'inline' },
    })
    const serving = serve(root)
    await serving.ready()
    await serving.models.switchVersion('m', '2')
    await asleep(serving)
    writeInto(root, 'm/1/model.onnx', mlp([4, 2], 3))
    await expect(serving.models.rollback('m')).rejects.toThrow('has changed since it was loaded')
    expect(serving.models.get('m').current).toBe('2')
  })

  it('is not served from other numbers beside the same graph', async () => {
    const numbers = (first: number) => new Uint8Array(Float32Array.of(first, 2, 3).buffer)
    const root = temporaryRepository({
      'm/1/model.onnx': addExternal('numbers.bin'),
      'm/1/numbers.bin': numbers(1),
      'm/model.json': lazy,
    })
    const serving = serve(root)
    await serving.predict('m', { x: [1, 2, 3] })
    await asleep(serving)
    writeInto(root, 'm/1/numbers.bin', numbers(9))
    await expect(serving.predict('m', { x: [1, 2, 3] })).rejects.toMatchObject(changed)
  })

  it('stays refused where model.json is read again, or its folder was gone meanwhile', async () => {
    const root = temporaryRepository({ 'm/1/model.onnx': mlp([4, 2], 1), 'm/model.json': lazy })
    const serving = serve(root, { watch: { intervalMs: 10, stableMs: 10 } })
    await serving.predict('m', row)
    await asleep(serving)
    rmSync(join(root, 'm/1'), { recursive: true })
    await setTimeout(50)
    writeInto(root, 'm/1/model.onnx', mlp([4, 2], 2))
    writeInto(root, 'm/model.json', { ...lazy, description: 'new' })
    await vi.waitFor(() => expect(serving.models.get('m').description).toBe('new'))
    await expect(serving.predict('m', row)).rejects.toMatchObject(changed)
  })

  it('is not served by its name either where it was forgotten meanwhile', async () => {
    const root = temporaryRepository({
      'm/1/model.onnx': mlp([4, 2], 1),
      'm/2/model.onnx': mlp([4, 2], 2),
      'm/model.json': { current: '1', keepPrevious: 0, placement: 'inline' },
    })
    const serving = serve(root, { watch: { intervalMs: 10, stableMs: 10 } })
    await serving.ready()
    await serving.models.switchVersion('m', '2')
    await asleep(serving)
    rmSync(join(root, 'm/1'), { recursive: true })
    await vi.waitFor(() => expect(state(serving)).toBeUndefined())
    writeInto(root, 'm/1/model.onnx', mlp([4, 2], 3))
    await vi.waitFor(() => expect(state(serving)).toBeDefined())
    await expect(serving.models.load('m', '1')).rejects.toThrow('has changed since it was loaded')
    await serving.models.unload('m', '1')
    await serving.models.load('m', '1')
  })

  it('is served from the new ones where it never was ready: a warm-up had failed', async () => {
    const root = temporaryRepository({ 'm/1/model.onnx': mlp([3, 2], 1) })
    const serving = serve(root, {
      repository: undefined,
      models: { m: onnx({ source: join(root, 'm'), placement: 'inline', warmUp: [row] }) },
    })
    await expect(serving.ready()).rejects.toThrow('warm')
    writeInto(root, 'm/1/model.onnx', mlp([4, 2], 1))
    await serving.models.load('m', '1')
    await serving.predict('m', row)
  })

  it('of code is not loaded again either, whatever else its code has written beside', async () => {
    const root = temporaryRepository({ 'm/1/words.txt': 'one', 'm/1/deep/more.txt': 'two' })
    const load = vi.fn(({ dir }: { dir: string }) => {
      mkdirSync(join(dir, 'cache'), { recursive: true })
      writeFileSync(join(dir, 'cache/of-code'), String(Math.random()))
      return 'loaded'
    })
    const model = custom({
      source: join(root, 'm'),
      lazy: true,
      idleUnloadMs: 20,
      load,
      run: (resource, rows: unknown[]) => rows.map(() => resource),
    })
    const serving = serve(root, { repository: undefined, models: { m: model } })
    expect(await serving.predict('m', 1)).toMatchObject({ prediction: 'loaded' })
    await asleep(serving)
    writeFileSync(join(root, 'm/1/words.txt'), 'one') // as it was
    expect(await serving.predict('m', 1)).toMatchObject({ prediction: 'loaded' })
    await asleep(serving)
    writeFileSync(join(root, 'm/1/deep/more.txt'), 'three')
    await expect(serving.predict('m', 1)).rejects.toMatchObject(changed)
    expect(load).toHaveBeenCalledTimes(2)
  })

  it('of code alone that was given a folder is not loaded again from another content', async () => {
    const root = temporaryRepository({ 'a/words.txt': 'one' })
    const model = custom({ load: ({ dir }) => dir, run: (dir, rows: unknown[]) => rows.map(() => dir) })
    const serving = serve(root, { repository: undefined, models: { m: model } })
    await serving.ready()
    await serving.models.load('m', '2', { source: join(root, 'a'), activate: true })
    await serving.models.switchVersion('m', '1')
    await serving.models.load('m', '3', { source: join(root, 'a'), activate: true })
    await asleep(serving, '2')
    writeFileSync(join(root, 'a/words.txt'), 'two')
    await expect(serving.models.load('m', '2')).rejects.toThrow('has changed since it was loaded')
  })
})
