import { readFileSync } from 'node:fs'
import ts from 'typescript'
import { grpcFields } from '../../adapters/grpc/options.js'
import { providerFields } from '../../src/execution/providers.js'
import { sessionFields } from '../../src/execution/session-options.js'
import { adminFields } from '../../src/http/admin-access.js'
import { contextFields, doorFields } from '../../src/http/door-options.js'
import { fetchHandlerFields } from '../../src/http/fetch-handler.js'
import { canaryFields } from '../../src/models/canary.js'
import { customFields, onnxFields } from '../../src/models/definition.js'
import { exposureFields } from '../../src/models/exposure.js'
import {
  batchingFields,
  cacheFields,
  commonFields,
  modelFields,
  raggedFields,
  raggedInputFields,
  raggedOutputFields,
  taskFields,
} from '../../src/models/model-config.js'
import { tensorRequestFields } from '../../src/models/tensor-codec.js'
import { remoteSourceFields } from '../../src/models/sources/remote-source.js'
import { watchFields } from '../../src/models/watch-options.js'
import { compareFields, shadowFields } from '../../src/models/shadow.js'
import type { Field } from '../../src/options.js'
import { stagePredictFields } from '../../src/predict-stage.js'
import { pipelineFields, stageFields } from '../../src/pipeline.js'
import {
  agreementFields,
  errorRatioFields,
  guardFields,
  latencyFields,
} from '../../src/rollout/rollout-options.js'
import { startRolloutFields } from '../../src/models/rollout-changes.js'
import { predictManyFields } from '../../src/predict-many.js'
import { predictStreamFields } from '../../src/predict-stream.js'
import { predictFields } from '../../src/prediction.js'
import { servingFields } from '../../src/serving-options.js'
import { validationFields } from '../../src/validation/validate.js'
import { replicaFields } from '../../src/state/replica-options.js'
import {
  circuitFields,
  remoteFields,
  remoteVersionFields,
  signatureFields,
} from '../../src/remote/remote-options.js'

export type Table = Readonly<Record<string, Pick<Field<unknown>, 'expected'>>>

/** What a section of docs/configuration.md is about. */
export interface Section {
  readonly fields: Table
  /** The interfaces whose doc comments state the defaults: `file#interface`. */
  readonly documentedBy: readonly string[]
}

/** The options of `all` that are in none of the others. */
function without(all: object, ...others: readonly object[]): Table {
  const entries = Object.entries(all as Table)
  return Object.fromEntries(entries.filter(([name]) => !others.some((other) => Object.hasOwn(other, name))))
}

const common = 'src/models/model-config.ts#CommonOptions'
const predict = 'src/prediction.ts#PredictOptions'
const remoteOptions = 'src/remote/remote-options.ts'
const { name: _, ...providers } = Object.assign({}, ...Object.values(providerFields)) as Table

/** Every options object there is, by the heading of its table. */
export const sections: Readonly<Record<string, Section>> = {
  'createServing()': {
    fields: without(servingFields),
    documentedBy: ['src/serving-options.ts#ServingOptions', 'src/serving-options.ts#CreateServingOptions'],
  },
  watch: { fields: without(watchFields), documentedBy: ['src/models/watch-options.ts#WatchOptions'] },
  'source: { url, sha256 }': {
    fields: without(remoteSourceFields),
    documentedBy: ['src/models/sources/remote-source.ts#RemoteSource'],
  },
  replicas: { fields: without(replicaFields), documentedBy: ['src/state/replica-options.ts#ReplicaOptions'] },
  'Every model': { fields: without(commonFields), documentedBy: [common] },
  'ONNX models': {
    fields: without(modelFields, commonFields),
    documentedBy: ['src/models/model-config.ts#ModelOptions'],
  },
  'onnx()': {
    fields: without(onnxFields, modelFields, exposureFields),
    documentedBy: ['src/models/definition.ts#OnnxOptions', 'src/models/codec.ts#Codec'],
  },
  'custom()': {
    fields: without(customFields, commonFields, exposureFields),
    documentedBy: ['src/models/definition.ts#CustomOptions', 'src/models/model-config.ts#CustomModelOptions'],
  },
  'remote()': {
    fields: without(remoteFields, commonFields, exposureFields),
    documentedBy: [
      `${remoteOptions}#RemoteAccess`,
      `${remoteOptions}#RemoteOptions`,
      'src/models/codec.ts#Codec',
    ],
  },
  remoteVersions: {
    fields: without(remoteVersionFields),
    documentedBy: [`${remoteOptions}#RemoteVersion`],
  },
  signature: { fields: without(signatureFields), documentedBy: [`${remoteOptions}#RemoteSignature`] },
  circuit: { fields: without(circuitFields), documentedBy: [`${remoteOptions}#CircuitOptions`] },
  InferenceClient: {
    // It checks them itself: it imports nothing of the core.
    fields: {
      url: { expected: 'an http:// or https:// address' },
      headers: { expected: 'an object of texts by name' },
      fetch: { expected: 'a function' },
      timeoutMs: { expected: 'an integer from 1 to 2147483647' },
      retries: { expected: 'an integer from 0 to 100' },
      maxResponseBytes: { expected: 'an integer from 1 to 4294967296' },
      binary: { expected: 'true or false' },
    },
    documentedBy: ['src/client/client-options.ts#InferenceClientOptions'],
  },
  'pipeline()': {
    fields: without(pipelineFields, commonFields, exposureFields),
    documentedBy: ['src/pipeline.ts#PipelineOptions'],
  },
  'Stages of a pipeline': {
    fields: without(stageFields),
    documentedBy: ['src/pipeline.ts#PipelineStage'],
  },
  'predict() of a pipeline': {
    fields: without(stagePredictFields),
    documentedBy: ['src/predict-stage.ts#StagePredictOptions', predict],
  },
  'Over HTTP': {
    fields: without(exposureFields),
    documentedBy: ['src/models/exposure.ts#ExposureOptions'],
  },
  'infer()': {
    fields: without(tensorRequestFields),
    documentedBy: ['src/models/tensor-codec.ts#TensorRequest'],
  },
  batching: {
    fields: without(batchingFields),
    documentedBy: ['src/models/model-config.ts#BatchingOptions'],
  },
  ragged: {
    fields: without(raggedFields),
    documentedBy: ['src/batching/ragged-feeds.ts#RaggedOptions'],
  },
  'ragged inputs': {
    fields: without(raggedInputFields),
    documentedBy: ['src/batching/ragged-feeds.ts#RaggedInput'],
  },
  'ragged outputs': {
    fields: without(raggedOutputFields),
    documentedBy: ['src/batching/ragged-feeds.ts#RaggedOutput'],
  },
  cache: { fields: without(cacheFields), documentedBy: ['src/cache/prediction-cache.ts#CacheOptions'] },
  task: { fields: without(taskFields), documentedBy: ['src/models/model-config.ts#ClassificationTask'] },
  session: {
    fields: without(sessionFields),
    documentedBy: [
      'src/execution/session-options.ts#SessionOptions',
      'src/execution/session-options.ts#RefusedOptions',
    ],
  },
  providers: {
    fields: providers,
    documentedBy: ['GpuProvider', 'CoreMlProvider', 'QnnProvider', 'WebGpuProvider'].map(
      (name) => `src/execution/providers.ts#${name}`,
    ),
  },
  'predict()': { fields: without(predictFields), documentedBy: [predict] },
  'predictMany()': {
    fields: without(predictManyFields),
    documentedBy: ['src/predict-many.ts#PredictManyOptions', predict],
  },
  'predictStream()': { fields: without(predictStreamFields), documentedBy: [predict] },
  'startRollout()': {
    fields: without(startRolloutFields),
    documentedBy: [
      'src/models/rollout-changes.ts#StartRolloutOptions',
      'src/rollout/rollout-options.ts#RolloutOptions',
    ],
  },
  guards: {
    fields: without(guardFields),
    documentedBy: ['src/rollout/rollout-options.ts#RolloutGuards'],
  },
  'guards: errorRatio': {
    fields: without(errorRatioFields),
    documentedBy: ['src/rollout/rollout-options.ts#ErrorRatioGuard'],
  },
  'guards: latency': {
    fields: without(latencyFields),
    documentedBy: ['src/rollout/rollout-options.ts#LatencyGuard'],
  },
  'guards: agreement': {
    fields: without(agreementFields),
    documentedBy: ['src/rollout/rollout-options.ts#AgreementGuard'],
  },
  'validate()': {
    fields: without(validationFields),
    documentedBy: ['ValidationOptions', 'ComparisonOptions'].map(
      (name) => `src/validation/validate.ts#${name}`,
    ),
  },
  'canary()': { fields: without(canaryFields), documentedBy: ['src/models/canary.ts#CanaryOptions'] },
  'shadow()': { fields: without(shadowFields), documentedBy: ['src/models/shadow.ts#ShadowOptions'] },
  compare: { fields: without(compareFields), documentedBy: ['src/models/agreement.ts#CompareOptions'] },
  Doors: { fields: without(doorFields), documentedBy: ['src/http/door-options.ts#DoorOptions'] },
  'grpcServer()': { fields: without(grpcFields), documentedBy: ['adapters/grpc/options.ts#GrpcOptions'] },
  admin: { fields: without(adminFields), documentedBy: ['src/http/admin-access.ts#AdminOptions'] },
  'context()': { fields: without(contextFields), documentedBy: [predict] },
  Fetch: {
    fields: without(fetchHandlerFields),
    documentedBy: ['src/http/fetch-handler.ts#FetchHandlerOptions'],
  },
  Fastify: {
    // It has no table of fields of its own: what it takes, TypeScript and Fastify say.
    fields: {
      serving: { expected: 'a serving' },
      decorator: { expected: 'a string' },
      prefix: { expected: 'a string' },
    },
    documentedBy: ['adapters/fastify/index.ts#MlServingOptions'],
  },
}

export interface Row {
  readonly option: string
  readonly expected: string
  readonly default: string
  readonly meaning: string
}

const page = readFileSync(new URL('../../docs/configuration.md', import.meta.url), 'utf8')

/** The rows of each table of docs/configuration.md, by its heading. */
export function tables(): Record<string, Row[]> {
  const parts = page.split(/^## /m).slice(1)
  return Object.fromEntries(
    parts.map((part) => {
      const [heading = ''] = part.split('\n', 1)
      const rows = part.split('\n').filter((line) => /^\|\s*`/.test(line))
      return [heading, rows.map(rowOf)]
    }),
  )
}

function rowOf(line: string): Row {
  const cells = line.split('|').map((cell) => cell.trim().replaceAll('`', ''))
  const [, option = '', expected = '', byDefault = '', meaning = ''] = cells
  return { option, expected: expected.replace(/\\([*_[\]])/g, '$1'), default: byDefault, meaning }
}

/** The doc comments of an interface's members, as one line each, by name. */
export function commentsOf(address: string): Record<string, string> {
  const [file = '', name] = address.split('#')
  const text = readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8')
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true)
  for (const statement of source.statements) {
    if (!ts.isInterfaceDeclaration(statement) || statement.name.text !== name) continue
    return Object.fromEntries(
      statement.members.map((member) => {
        const comments = ts.getLeadingCommentRanges(text, member.getFullStart()) ?? []
        const raw = comments.map(({ pos, end }) => text.slice(pos, end)).join(' ')
        const line = raw.replace(/^\/\*\*|\*\/$|\n\s*\*(?!\/)/g, ' ').replaceAll('`', '')
        return [member.name?.getText() ?? '', line.replace(/\s+/g, ' ').trim()]
      }),
    )
  }
  throw new Error(`there is no interface ${address}`)
}
