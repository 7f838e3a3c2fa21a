import { describe, expect, it } from 'vitest'
import { runtimeOptions, sessionOption, type SessionOptions } from '../../src/execution/session-options.js'
import { modelFields, type ModelOptions } from '../../src/models/model-config.js'
import { checkFields } from '../../src/options.js'

const check = (session: unknown) => () => {
  checkFields<ModelOptions>({ session }, modelFields, 'model.json', 'INVALID_CONFIG')
}

/** `{ a: { a: { a: ... } } }`. */
function nested(depth: number): unknown {
  let value: unknown = '1'
  for (let i = 0; i < depth; i++) value = { ep: value }
  return value
}

describe('session options', () => {
  it('of every kind that onnxruntime-node heeds are taken', () => {
    const session: Required<SessionOptions> = {
      graphOptimizationLevel: 'layout',
      enableCpuMemArena: false,
      enableMemPattern: false,
      executionMode: 'parallel',
      interOpNumThreads: 2,
      logSeverityLevel: 0,
      logId: 'churn',
      extra: {
        'session.disable_prepacking': '1',
        session: { intra_op: { allow_spinning: '1' } },
        ep: { x: '' },
      },
    }
    expect(check(session)).not.toThrow()
    expect(sessionOption.accepts(session)).toBe(true)
  })

  it.each<[unknown, string]>([
    [
      { graphOptimisationLevel: 'all' },
      'unknown option "graphOptimisationLevel". Did you mean "graphOptimizationLevel"?',
    ],
    [
      { graphOptimizationLevel: 'most' },
      'graphOptimizationLevel must be one of "disabled", "basic", "extended", "layout", "all"; got "most".',
    ],
    [
      { intraOpNumThreads: 4 },
      "intraOpNumThreads must be left out: it is the model's option intraOpThreads; got 4.",
    ],
    [
      { executionProviders: ['cpu'] },
      "executionProviders must be left out: it is the model's option providers; got a list of 1.",
    ],
    [
      { freeDimensionOverrides: { batch: 1 } },
      'freeDimensionOverrides must be left out: onnxruntime-node takes no notice of it; got an object.',
    ],
    [{ interOpNumThreads: 100_000 }, 'interOpNumThreads must be an integer from 1 to 256; got 100000.'],
    [{ logSeverityLevel: 5 }, 'logSeverityLevel must be an integer from 0 to 4; got 5.'],
    [{ extra: [] }, 'extra must be an object; got a list of 0.'],
    [
      { extra: { session: { disable_prepaking: '1' } } },
      'extra: unknown or unsupported key "session.disable_prepaking". Did you mean "session.disable_prepacking"?',
    ],
    [{ extra: { whatever: '1' } }, 'extra: unknown or unsupported key "whatever".'],
    [
      { extra: { 'session.collect_node_memory_stats_to_file': '/tmp/x' } },
      'extra: unknown or unsupported key "session.collect_node_memory_stats_to_file".',
    ],
    [
      { extra: { 'session.disable_prepacking': 1 } },
      'extra: "session.disable_prepacking" must be "0" or "1"; got 1.',
    ],
    [
      { extra: { session: { disable_prepacking: 'yes' } } },
      'extra: "session.disable_prepacking" must be "0" or "1"; got "yes".',
    ],
    [
      { extra: { 'session.dynamic_block_base': 4 } },
      'extra: "session.dynamic_block_base" must be a string of at most 1024 characters; got 4.',
    ],
    [JSON.parse('{"extra": {"__proto__": {"x": "1"}}}'), 'extra: unknown or unsupported key "__proto__.x".'],
  ])('%j are refused', (session, message) => {
    expect(check(session)).toThrow(
      expect.objectContaining({
        code: 'INVALID_CONFIG',
        message: `model.json: session: ${message}`,
      }) as Error,
    )
  })

  it('that nest without end, or 40,000 levels deep, are refused', () => {
    const endless: Record<string, unknown> = {}
    endless.ep = endless
    for (const extra of [endless, nested(40_000)]) {
      expect(check({ extra })).toThrow(/the key "ep\.ep\..*" is longer than 128 characters/)
    }
  })
})

describe("onnxruntime's own options", () => {
  it('have threads that do not spin and one inter-op thread unless asked otherwise', () => {
    expect(runtimeOptions({}, 3)).toEqual({
      intraOpNumThreads: 3,
      interOpNumThreads: 1,
      extra: { 'session.intra_op.allow_spinning': '0', 'session.inter_op.allow_spinning': '0' },
    })
  })

  it('are those that were given, with nested keys beside dotted ones', () => {
    const extra = {
      'session.disable_prepacking': '1',
      session: { intra_op: { allow_spinning: '1' }, set_denormal_as_zero: '1' },
    }
    expect(runtimeOptions({ graphOptimizationLevel: 'basic', interOpNumThreads: 2, extra }, 1)).toEqual({
      graphOptimizationLevel: 'basic',
      intraOpNumThreads: 1,
      interOpNumThreads: 2,
      extra: {
        'session.disable_prepacking': '1',
        'session.intra_op.allow_spinning': '1',
        'session.inter_op.allow_spinning': '0',
        'session.set_denormal_as_zero': '1',
      },
    })
  })
})
