import type { Route } from './routes.js'
import { getV2Config } from './v2-config.js'
import { postInfer } from './v2-infer.js'
import { getV2Live, getV2Model, getV2ModelReady, getV2Ready, getV2Server } from './v2-metadata.js'
import { postV2Index, postV2Load, postV2Unload } from './v2-repository.js'
import * as schemas from './v2-schemas.js'
import { getV2Statistics } from './v2-statistics.js'

const group = 'v2'

/** The Open Inference Protocol, version 2. A model's version may be left out. */
export const v2Routes: readonly Route[] = [
  { method: 'GET', path: '/v2', group, schema: schemas.server, handle: getV2Server },
  { method: 'GET', path: '/v2/health/live', group, schema: schemas.live, handle: getV2Live },
  { method: 'GET', path: '/v2/health/ready', group, schema: schemas.ready, handle: getV2Ready },
  // Before a model of that name, which its versions' routes still reach.
  {
    method: 'GET',
    path: '/v2/models/stats',
    group,
    schema: schemas.allStatistics,
    handle: getV2Statistics,
  },
  ...ofModelAndVersion({ method: 'GET', path: '', group, schema: schemas.model, handle: getV2Model }),
  ...ofModelAndVersion({
    method: 'GET',
    path: '/ready',
    group,
    schema: schemas.modelReady,
    handle: getV2ModelReady,
  }),
  ...ofModelAndVersion({
    method: 'GET',
    path: '/config',
    group,
    schema: schemas.config,
    handle: getV2Config,
  }),
  ...ofModelAndVersion({
    method: 'GET',
    path: '/stats',
    group,
    schema: schemas.statistics,
    handle: getV2Statistics,
  }),
  ...ofModelAndVersion({
    method: 'POST',
    path: '/infer',
    group,
    access: 'context',
    schema: schemas.infer,
    handle: postInfer,
  }),
  {
    method: 'POST',
    path: '/v2/repository/index',
    group,
    access: 'admin',
    schema: schemas.index,
    handle: postV2Index,
  },
  {
    method: 'POST',
    path: '/v2/repository/models/:model/load',
    group,
    access: 'admin',
    schema: schemas.ofModel(schemas.load),
    handle: postV2Load,
  },
  {
    method: 'POST',
    path: '/v2/repository/models/:model/unload',
    group,
    access: 'admin',
    schema: schemas.ofModel(schemas.unload),
    handle: postV2Unload,
  },
]

/** A route below a model, and below a version of it. */
function ofModelAndVersion({ path, schema, ...route }: Route): Route[] {
  return [
    { ...route, path: `/v2/models/:model${path}`, schema: schemas.ofModel(schema) },
    { ...route, path: `/v2/models/:model/versions/:version${path}`, schema: schemas.ofVersion(schema) },
  ]
}
