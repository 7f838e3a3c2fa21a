import { expect, test } from 'vitest'
import { json } from '../../src/http/exchange.js'
import { routes } from '../../src/http/routes.js'

test('the routes are these, and a new one is to be tested over every adapter', () => {
  expect(routes.map(({ method, path }) => `${method} ${path}`)).toEqual([
    'GET /health',
    'GET /ready',
    'GET /metrics',
    'GET /openapi.json',
    'POST /predict',
    'GET /models',
    'GET /models/:model',
    'POST /models/:model/predict',
    'POST /models/:model/versions/:version/predict',
    'POST /models/:model/stream',
    'POST /models/:model/versions/:version/stream',
    'GET /v2',
    'GET /v2/health/live',
    'GET /v2/health/ready',
    'GET /v2/models/stats',
    'GET /v2/models/:model',
    'GET /v2/models/:model/versions/:version',
    'GET /v2/models/:model/ready',
    'GET /v2/models/:model/versions/:version/ready',
    'GET /v2/models/:model/config',
    'GET /v2/models/:model/versions/:version/config',
    'GET /v2/models/:model/stats',
    'GET /v2/models/:model/versions/:version/stats',
    'POST /v2/models/:model/infer',
    'POST /v2/models/:model/versions/:version/infer',
    'POST /v2/repository/index',
    'POST /v2/repository/models/:model/load',
    'POST /v2/repository/models/:model/unload',
    'POST /v2/models/:model/generate',
    'POST /v2/models/:model/versions/:version/generate',
    'POST /v2/models/:model/generate_stream',
    'POST /v2/models/:model/versions/:version/generate_stream',
    'POST /admin/models/:model/versions/:version/load',
    'POST /admin/models/:model/versions/:version/unload',
    'POST /admin/models/:model/switch',
    'POST /admin/models/:model/rollback',
    'PUT /admin/models/:model/labels/:label',
    'DELETE /admin/models/:model/labels/:label',
    'POST /admin/models/:model/versions/:version/quarantine',
    'POST /admin/models/:model/versions/:version/release',
    'POST /admin/models/:model/rollout',
    'GET /admin/models/:model/rollout',
    'POST /admin/models/:model/rollout/abort',
    'POST /admin/models/:model/versions/:version/validate',
  ])
})

test('JSON has integers of any size as strings, and null for what it has no number for', () => {
  const { status, headers, body } = json(
    200,
    { big: 2n ** 63n, inside: [[-1n]], none: [NaN, Infinity] },
    { a: 'b' },
  )
  expect(status).toBe(200)
  expect(headers).toEqual({ 'content-type': 'application/json; charset=utf-8', a: 'b' })
  expect(body).toBe('{"big":"9223372036854775808","inside":[["-1"]],"none":[null,null]}')
})
