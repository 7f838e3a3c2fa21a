import type { ValidationCase } from '../validation/cases.js'
import { ServingError } from '../errors.js'
import { isPlainObject, provided, type Fields } from '../options.js'
import type { ValidationGate } from '../validation/validate.js'
import { adminRoute, name, type Reasoned } from './admin-route.js'
import type { Route } from './routes.js'
import { rollbackAnswer, snapshot } from './schemas.js'

const reason = provided<string>(
  'a text of 1 to 500 characters',
  (value) => typeof value === 'string' && value.length >= 1 && value.length <= 500,
  { type: 'string', minLength: 1, maxLength: 500 },
)

const cases = provided<readonly ValidationCase[]>('a list', Array.isArray, { type: 'array', minItems: 1 })

/** A validation before a change: its cases lie in the request, never in a file that it names. */
const validate = provided<ValidationGate>(
  'an object with a list of cases',
  (value) => isPlainObject(value) && Array.isArray(value.cases),
  {
    type: 'object',
    properties: { cases: { type: 'array', minItems: 1 } },
    required: ['cases'],
    additionalProperties: true,
  },
)

const reasoned: Fields<Reasoned> = { reason }
const versioned: Fields<Reasoned & { readonly version: string }> = { version: name, reason }
const gated: Fields<Reasoned & { readonly version: string; readonly validate?: ValidationGate }> = {
  version: name,
  validate,
  reason,
}
const withCases: Fields<Reasoned & { readonly cases: readonly ValidationCase[] }> = { cases, reason }

/** The routes that change what serves. Those that the manager has no method for are left out. */
export const adminRoutes: readonly Route[] = [
  adminRoute({
    route: 'POST /admin/models/:model/versions/:version/load',
    operationId: 'loadVersion',
    summary: 'Loads a version beside the one that serves',
    fields: reasoned,
    answer: snapshot,
    run: ({ models, model, version, origin }) => models.load(model, version, origin),
  }),
  adminRoute({
    route: 'POST /admin/models/:model/versions/:version/unload',
    operationId: 'unloadVersion',
    summary: 'Frees a version that does not serve',
    fields: reasoned,
    answer: snapshot,
    run: ({ models, model, version, origin }) => models.unload(model, version, origin),
  }),
  adminRoute({
    route: 'POST /admin/models/:model/switch',
    operationId: 'switchVersion',
    summary: 'Makes a version the one that serves, loading it where needed',
    fields: gated,
    required: ['version'],
    answer: snapshot,
    run: ({ models, model, body: { version, validate }, origin }) =>
      models.switchVersion(model, version, { ...origin, ...(validate !== undefined && { validate }) }),
  }),
  adminRoute({
    route: 'POST /admin/models/:model/rollback',
    operationId: 'rollback',
    summary: 'Goes back to the version that served before the last switch',
    fields: reasoned,
    answer: rollbackAnswer,
    run: ({ models, model, origin }) => models.rollback(model, origin),
  }),
  adminRoute({
    route: 'PUT /admin/models/:model/labels/:label',
    operationId: 'setLabel',
    summary: 'Gives a label to a version, taking it from the one that has it',
    fields: versioned,
    required: ['version'],
    answer: snapshot,
    run: ({ models, model, label, body, origin }) => models.setLabel(model, label, body.version, origin),
  }),
  adminRoute({
    route: 'DELETE /admin/models/:model/labels/:label',
    operationId: 'removeLabel',
    summary: 'Takes a label away',
    fields: reasoned,
    answer: snapshot,
    run: ({ models, model, label, origin }) => models.removeLabel(model, label, origin),
  }),
  adminRoute({
    route: 'POST /admin/models/:model/versions/:version/quarantine',
    operationId: 'quarantineVersion',
    summary: 'Takes a version out of service until it is released',
    fields: reasoned,
    required: ['reason'],
    answer: snapshot,
    run: ({ models, model, version, body, origin }) =>
      models.quarantine(model, version, body.reason ?? '', origin),
  }),
  adminRoute({
    route: 'POST /admin/models/:model/versions/:version/release',
    operationId: 'releaseVersion',
    summary: 'Ends the quarantine of a version',
    fields: reasoned,
    answer: snapshot,
    run: ({ models, model, version, origin }) => models.release(model, version, origin),
  }),
  adminRoute({
    route: 'POST /admin/models/:model/rollout',
    operationId: 'startRollout',
    summary: 'Gives a version more and more of the traffic, as long as its guards hold',
    fields: gated,
    required: ['version'],
    takesMore: true,
    answer: {},
    run: ({ models, model, body: { reason: _, ...options }, origin }) =>
      models.startRollout(model, options, origin),
  }),
  adminRoute({
    route: 'GET /admin/models/:model/rollout',
    operationId: 'rollout',
    summary: 'How the rollout of a model stands',
    answer: {},
    run: ({ models, model }) => models.rolloutOf(model) ?? noRollout(model),
  }),
  adminRoute({
    route: 'POST /admin/models/:model/rollout/abort',
    operationId: 'abortRollout',
    summary: 'Ends a rollout: all traffic goes back to the version that served',
    fields: reasoned,
    answer: {},
    run: ({ models, model, origin }) => models.abortRollout(model, origin),
  }),
  adminRoute({
    route: 'POST /admin/models/:model/versions/:version/validate',
    operationId: 'validateVersion',
    summary: 'Asks a version the given cases, and compares what it answers',
    fields: withCases,
    required: ['cases'],
    takesMore: true,
    answer: {},
    run: ({ models, model, version, body: { cases, reason: _, ...options } }) =>
      models.validate(model, version, cases, options),
  }),
]

function noRollout(model: string): never {
  throw new ServingError('CONFLICT', `model "${model}" has no rollout.`)
}
