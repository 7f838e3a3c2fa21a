import { describe, expect, test } from 'vitest'
import { positionOf } from '../../src/models/canary.js'
import { ask, json, post } from '../http/client.js'
import { versionsOfCode } from '../models/versions-of-code.js'
import { headerOf, hosts } from './hosts.js'

const input = { text: 'hello' }

describe.each(hosts)('$name', ({ start }) => {
  test('a label stands in the path, and in the body as model_version', async () => {
    const { serving } = versionsOfCode(undefined, { labels: { stable: '1', next: '2' } })
    await serving.ready()
    await using host = await start(serving)
    for (const [label, version] of [
      ['stable', '1'],
      ['next', '2'],
    ]) {
      const inPath = await post(host.origin, `/models/m/versions/${label}/predict`, input)
      expect(json(inPath)).toMatchObject({ prediction: version, model_version: version })
      const inBody = await post(host.origin, '/models/m/predict', { ...input, model_version: label })
      expect(json(inBody)).toMatchObject({ prediction: version, model_version: version })
    }
    const unknown = await post(host.origin, '/models/m/versions/newest/predict', input)
    expect(unknown.status).toBe(404)
    expect(json(unknown)).toMatchObject({
      code: 'VERSION_NOT_FOUND',
      detail: expect.stringContaining('Labels: stable, next.') as string,
    })
  })

  test('the key of context keeps a caller on one version', async () => {
    const { serving } = versionsOfCode()
    await serving.models.canary('m', { version: '2', percent: 40 })
    const context = (request: unknown) => ({
      key: headerOf(request, 'x-user') ?? 'nobody',
    })
    await using host = await start(serving, { context })
    for (const user of Array.from({ length: 12 }, (_, i) => `user-${i}`)) {
      const expected = positionOf('m', user) < 0.4 ? '2' : '1'
      const headers = { 'x-user': user }
      for (const body of [input, { ...input, model_version: 'latest' }]) {
        const answer = await post(host.origin, '/models/m/predict', body, headers)
        expect(json(answer)).toMatchObject({ model_version: expected })
      }
      const several = await post(host.origin, '/models/m/predict', { instances: [input, input] }, headers)
      expect(json(several)).toMatchObject({
        predictions: [{ model_version: expected }, { model_version: expected }],
      })
      const named = await post(host.origin, '/models/m/versions/1/predict', input, headers)
      expect(json(named)).toMatchObject({ model_version: '1' })
    }
  })

  test('labels, canary and shadow are shown', async () => {
    const { serving } = versionsOfCode(undefined, { labels: { stable: '1' } })
    await serving.ready()
    await serving.models.canary('m', { version: '2', percent: 5 })
    await serving.models.shadow('m', { version: '3', fraction: 0.1 })
    await using host = await start(serving)
    const shadow = { version: '3', fraction: 0.1, agreed: 0, disagreed: 0, failed: 0, dropped: 0, skipped: 0 }
    expect(json(await ask(host.origin, '/models/m'))).toMatchObject({
      current: '1',
      labels: { stable: '1' },
      canary: { version: '2', percent: 5 },
      shadow,
    })
  })
})
