import { createServing } from 'mlserving'
import { join } from 'node:path'
import { describe, expect, test, vi } from 'vitest'
import { ask, post } from '../http/client.js'
import { quietLogger } from '../models/quiet-logger.js'
import { temporaryRepository, writeInto } from '../models/temporary-repository.js'
import { mlp } from '../onnx/models.js'
import { hosts } from './hosts.js'
import { asAny } from './serving.js'

describe.each(hosts)('$name', ({ start }) => {
  test('GET /models/:model and /metrics show what is broken or changed in a watched folder, and it serves on', async () => {
    const root = temporaryRepository({ 'm/1/model.onnx': mlp([2, 2]) })
    await using serving = createServing({
      repository: root,
      watch: { intervalMs: 10, stableMs: 20 },
      logger: quietLogger(),
    })
    await using host = await start(asAny(serving))
    await serving.ready()
    writeInto(root, 'm/1/vocab.txt', 'new')
    writeInto(root, 'm/2/model.onnx', 'broken')
    writeInto(root, join('m', 'model.json'), '{')
    await vi.waitFor(async () => {
      const { text } = await ask(host.origin, '/models/m')
      expect(JSON.parse(text)).toMatchObject({
        current: '1',
        configReason: expect.stringMatching(/model\.json is not JSON/) as string,
        versions: [
          { version: '2', state: 'failed', reason: expect.stringMatching(/could not be loaded/) as string },
          { version: '1', state: 'ready', changed: true },
        ],
      })
    })
    const { text } = await ask(host.origin, '/metrics')
    expect(text).toMatch(/^model_load_failures_total\{model="m",model_version="2"\} [1-9]/m)
    expect(text).toMatch(/^model_config_failures_total\{model="m"\} [1-9]/m)
    expect(text).toMatch(/^model_version_changed\{model="m",model_version="1"\} 1$/m)
    expect((await ask(host.origin, '/ready')).status).toBe(200)
    expect((await post(host.origin, '/models/m/predict', { x: [1, 2] })).status).toBe(200)
  })
})
