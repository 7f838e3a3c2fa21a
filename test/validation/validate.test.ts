import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { custom } from '../../src/models/definition.js'
import { pipeline } from '../../src/pipeline.js'
import { createServing } from '../../src/create-serving.js'
import type { ValidationCase } from '../../src/validation/cases.js'
import { quietLogger } from '../models/quiet-logger.js'
import { temporaryRepository } from '../models/temporary-repository.js'

const repository = 'examples/models'
const golden = (model: string, version: string) => join(repository, model, version, 'golden.jsonl')

function examples() {
  const serving = createServing({ repository, logger: quietLogger() })
  onTestFinished(() => serving.close())
  return serving
}

/** A model of code that answers as told, a version a function. */
function served(answers: Record<string, (row: never) => unknown>) {
  const source = temporaryRepository(
    Object.fromEntries(Object.keys(answers).map((version) => [`${version}/notes.txt`, ''])),
  )
  const serving = createServing({
    models: {
      m: custom({
        source,
        current: '1',
        load: ({ version }) => answers[version],
        run: (answer, rows: never[]) => Promise.all(rows.map((row) => answer?.(row))),
      }),
    },
    logger: quietLogger(),
  })
  onTestFinished(() => serving.close())
  return serving
}

const stateOf = (serving: Pick<ReturnType<typeof examples>, 'models'>, model: string, version: string) =>
  serving.models.get(model).versions.find((each) => each.version === version)?.state

describe('validate', () => {
  it.each([
    ['sentiment', '2.0'],
    ['digits', '1'],
    ['tumor', '1'],
  ])('passes %s@%s by its golden cases, read from their file', async (model, version) => {
    const serving = examples()
    await serving.ready()
    const report = await serving.models.validate(model, version, golden(model, version))
    expect(report).toMatchObject({
      model,
      version,
      accuracy: 1,
      mismatches: [],
      slo: { met: true, breaches: [] },
    })
    expect(report.passed).toBe(report.cases)
    expect(report.cases).toBeGreaterThanOrEqual(20)
    const { p50, p95, p99 } = report.latencyMs
    expect(p50).toBeGreaterThan(0)
    expect([p50, p95, p99]).toEqual([p50, p95, p99].toSorted((a, b) => a - b))
  })

  it('loads a version for its cases alone, and leaves everything else as it was', async () => {
    const serving = examples()
    await serving.ready()
    expect(stateOf(serving, 'sentiment', '1.0')).toBe('registered')
    const { slo } = await serving.models.validate('sentiment', '1.0', golden('sentiment', '1.0'))
    expect(slo.met).toBe(true)
    expect(stateOf(serving, 'sentiment', '1.0')).toBe('unloaded')
    expect(serving.models.get('sentiment').current).toBe('2.0')
  })

  it('leaves a version loaded that was so before, or was loaded meanwhile', async () => {
    const serving = examples()
    await serving.models.load('sentiment', '1.0')
    await serving.models.validate('sentiment', '1.0', golden('sentiment', '1.0'))
    expect(stateOf(serving, 'sentiment', '1.0')).toBe('ready')
    await serving.models.unload('sentiment', '1.0')
    const cases = async function* () {
      yield { input: { text: 'I love it' }, expected: 'positive' }
      await serving.models.load('sentiment', '1.0')
    }
    await serving.models.validate('sentiment', '1.0', cases())
    expect(stateOf(serving, 'sentiment', '1.0')).toBe('ready')
  })

  it('tells the first mismatches with their inputs, and counts all', async () => {
    const serving = served({ '1': (row: number) => row % 2 })
    const cases = Array.from({ length: 10 }, (_, input) => ({ input, expected: 0 }))
    const report = await serving.models.validate('m', '1', cases, { maxMismatches: 2, minAccuracy: 0.5 })
    expect(report).toMatchObject({ cases: 10, passed: 5, accuracy: 0.5, slo: { met: true } })
    expect(report.mismatches).toEqual([
      { index: 1, input: 1, expected: 0, got: 1 },
      { index: 3, input: 3, expected: 0, got: 1 },
    ])
  })

  it('takes a case that fails for a mismatch, with the error', async () => {
    const serving = examples()
    const cases = [
      { input: { text: 'I love it' }, expected: 'positive' },
      { input: { txet: 'I love it' }, expected: 'positive' },
    ]
    const report = await serving.models.validate('sentiment', 'latest', cases)
    expect(report).toMatchObject({
      version: '2.0',
      passed: 1,
      mismatches: [{ index: 1, got: { error: { code: 'INVALID_INPUT' } } }],
    })
  })

  it('holds latencies to quantiles that are asked for', async () => {
    const serving = served({ '1': (row: number) => new Promise((done) => setTimeout(done, 20, row)) })
    const cases = [{ input: 1, expected: 1 }]
    const report = await serving.models.validate('m', '1', cases, { maxLatencyMs: { p50: 10_000, p95: 1 } })
    expect(report.accuracy).toBe(1)
    expect(report.slo).toEqual({
      met: false,
      breaches: [expect.stringMatching(/^p95 of the latency is [\d.]+ ms, and must be at most 1 ms\.$/)],
    })
  })

  const tolerances: [string, unknown, unknown, Partial<ValidationCase>, boolean][] = [
    ['numbers within the tolerance', [1, 2.05], [1, 2], { tolerance: 0.1 }, true],
    ['numbers beyond it', [1, 2.5], [1, 2], { tolerance: 0.1 }, false],
    ['large numbers by their share', 1_000_050, 1_000_000, {}, true],
    ['a typed array as a list', new Float32Array([1, 2]), [1, 2], {}, true],
    ['lists of other lengths', [1, 2], [1], {}, false],
    ['a bigint as a number', 3n, 3, {}, true],
    ['NaN as NaN', [Number.NaN], [Number.NaN], {}, true],
    ['NaN as no number', [Number.NaN], [1], { tolerance: 1e9 }, false],
    ['objects by name', { a: 1, b: ['x'] }, { b: ['x'], a: 1 }, {}, true],
    ['objects with another name', { a: 1, b: 2 }, { a: 1 }, {}, false],
    ['null as null alone', null, 0, {}, false],
  ]
  it.each(tolerances)('compares %s', async (_, got, expected, more, isEqual) => {
    const serving = served({ '1': () => got })
    const { passed } = await serving.models.validate('m', '1', [{ input: 0, expected, ...more }])
    expect(passed).toBe(isEqual ? 1 : 0)
  })

  it.each([
    [['x'], 'case 0: a case must be an object with "input" and "expected"'],
    [[], 'm@1: there are no cases to validate it by'],
    [[{ input: 1, expected: 1, tolerance: -1 }], 'case 0: tolerance must be'],
    ['no/such/file.jsonl', 'no/such/file.jsonl could not be read'],
  ])('refuses %j for cases', async (cases, message) => {
    const serving = served({ '1': (row) => row })
    const refused = serving.models.validate('m', '1', cases as ValidationCase[])
    await expect(refused).rejects.toMatchObject({
      code: 'INVALID_REQUEST',
      message: expect.stringContaining(message) as string,
    })
  })

  it('names the line of a file that is no case', async () => {
    const root = temporaryRepository({ 'cases.jsonl': '{"input": 1, "expected": 1}\n\n{"input": 2,\n' })
    const serving = served({ '1': (row) => row })
    await expect(serving.models.validate('m', '1', join(root, 'cases.jsonl'))).rejects.toThrow(
      'cases.jsonl, line 3 is not JSON',
    )
  })

  it('refuses options that it has not, and a version that there is not', async () => {
    const serving = served({ '1': (row) => row })
    const wrong = serving.models.validate('m', '1', [], { minAcuracy: 1 } as never)
    await expect(wrong).rejects.toThrow('unknown option "minAcuracy". Did you mean "minAccuracy"?')
    await expect(serving.models.validate('m', '9', [])).rejects.toMatchObject({ code: 'VERSION_NOT_FOUND' })
  })

  it('ends with its signal', async () => {
    const serving = served({ '1': (row) => row })
    const abort = new AbortController()
    const cases = function* () {
      for (let i = 0; ; i++) {
        if (i === 3) abort.abort()
        yield { input: i, expected: i }
      }
    }
    const ended = serving.models.validate('m', '1', cases(), { signal: abort.signal })
    await expect(ended).rejects.toMatchObject({ code: 'ABORTED' })
  })

  it('ends with its signal amid a case that never ends, and holds up no switch', async () => {
    const abort = new AbortController()
    const hang = () => {
      setImmediate(() => abort.abort())
      return new Promise(() => {})
    }
    const source = temporaryRepository({ '1/a': '', '2/a': '', '3/a': '' })
    const m = custom({
      source,
      current: '1',
      load: ({ version }) => version,
      run: (version, rows: number[]) => (version === '2' ? hang() : rows) as number[],
    })
    const serving = createServing({ models: { m }, logger: quietLogger(), drainTimeoutMs: 10 })
    onTestFinished(() => serving.close())
    const ended = serving.models.validate('m', '2', [{ input: 1, expected: 1 }], { signal: abort.signal })
    await expect(ended).rejects.toMatchObject({ code: 'ABORTED' })
    expect((await serving.models.switchVersion('m', '3')).current).toBe('3')
  })

  it('takes no look-alike of a signal, as JSON may hold', async () => {
    const serving = served({ '1': (row) => row })
    const signal = { aborted: false } as AbortSignal
    const wrong = serving.models.validate('m', '1', [{ input: 1, expected: 1 }], { signal })
    await expect(wrong).rejects.toThrow('signal must be an AbortSignal')
  })

  it('reads a line of any length, whatever pieces it comes in', async () => {
    const serving = served({ '1': (row: string) => row.length })
    const long = 'é'.repeat(3_000_000)
    const lines = [long, 'x', `${long}x`].map((input) => JSON.stringify({ input, expected: input.length }))
    const root = temporaryRepository({ 'cases.jsonl': lines.join('\r\n') })
    const report = await serving.models.validate('m', '1', join(root, 'cases.jsonl'))
    expect(report).toMatchObject({ cases: 3, passed: 3 })
  })

  it.each([undefined, null, 5, {}])('refuses %j for cases', async (cases) => {
    const serving = served({ '1': (row) => row })
    const wrong = serving.models.validate('m', '1', cases as never)
    await expect(wrong).rejects.toMatchObject({ code: 'INVALID_REQUEST' })
  })

  it('leaves the event loop its turns, however quick the version is', async () => {
    const serving = served({ '1': (row) => row })
    await serving.ready()
    const abort = new AbortController()
    const endless = function* () {
      for (;;) yield { input: 1, expected: 1 }
    }
    setTimeout(() => abort.abort(), 10)
    const ended = serving.models.validate('m', '1', endless(), { signal: abort.signal })
    await expect(ended).rejects.toMatchObject({ code: 'ABORTED' })
  })

  it('refuses a pipeline', async () => {
    const serving = createServing({
      models: { one: custom({ load: () => 0, run: (_, rows: number[]) => rows }), all: pipeline(['one']) },
      logger: quietLogger(),
    })
    onTestFinished(() => serving.close())
    await expect(serving.models.validate('all', '1', [{ input: 1, expected: 1 }])).rejects.toMatchObject({
      code: 'CONFLICT',
    })
  })
})

describe('a switch with validate', () => {
  it('switches to a version that passes, which is loaded once', async () => {
    const serving = examples()
    await serving.ready()
    const cases = golden('sentiment', '1.0')
    const { current } = await serving.models.switchVersion('sentiment', '1.0', { validate: { cases } })
    expect(current).toBe('1.0')
    expect(stateOf(serving, 'sentiment', '1.0')).toBe('ready')
  })

  it('refuses a version that does not pass, with the figures, and what serves is as it was', async () => {
    const serving = examples()
    await serving.ready()
    const before = serving.models.get('sentiment').current
    const cases = golden('sentiment', '2.0')
    const refused = serving.models.switchVersion('sentiment', '1.0', { validate: { cases } })
    await expect(refused).rejects.toMatchObject({
      code: 'VALIDATION_FAILED',
      status: 422,
      message: expect.stringMatching(
        /^sentiment@1\.0 answered \d+ of 38 cases as expected: accuracy is 0?\.?\d*, and must be at least 1\./,
      ) as string,
    })
    expect(serving.models.get('sentiment').current).toBe(before)
    expect(stateOf(serving, 'sentiment', '1.0')).toBe('unloaded')
  })
})

it('waits for no change that waits for its versions: an unload amid a validation', async () => {
  const serving = served({ '1': (row) => row, '2': (row) => row })
  await serving.ready()
  const unloads: Promise<unknown>[] = []
  const cases = function* () {
    unloads.push(serving.models.unload('m'))
    for (let input = 0; input < 10; input++) yield { input, expected: input }
  }
  await serving.models.switchVersion('m', '2', { validate: { cases: cases() } })
  expect(serving.models.get('m').current).toBe('2')
  await serving.models.compare('m', '1', '2', [1, 2].values())
  await Promise.all(unloads)
})

describe('compare', () => {
  it('puts size, speed and agreement of two versions side by side', async () => {
    const serving = examples()
    await serving.ready()
    const { inputs, a, b, agreement } = await serving.models.compare(
      'sentiment',
      '1.0',
      '2.0',
      golden('sentiment', '2.0'),
    )
    expect(inputs).toBe(38)
    expect([a.version, b.version]).toEqual(['1.0', '2.0'])
    expect(b.bytes).toBeGreaterThan(a.bytes ?? Infinity)
    for (const { latencyMs, throughput } of [a, b]) {
      expect(latencyMs.p50).toBeGreaterThan(0)
      expect(throughput).toBeGreaterThan(0)
    }
    expect(agreement.same).toBeGreaterThan(0.5)
    expect(agreement.same).toBeLessThanOrEqual(1)
    expect(agreement.distance?.max).toBeGreaterThan(agreement.distance?.mean ?? Infinity)
    expect(stateOf(serving, 'sentiment', '1.0')).toBe('unloaded')
  })

  it('agrees with itself', async () => {
    const serving = served({ '1': (row: number) => row, '2': (row: number) => row + 0.5 })
    const { agreement } = await serving.models.compare('m', '1', '1', [1, 2, 3])
    expect(agreement).toEqual({ same: 1, distance: { max: 0, mean: 0 } })
    const other = await serving.models.compare('m', '1', '2', [1, 2, 3])
    expect(other.agreement).toEqual({ same: 0, distance: { max: 0.5, mean: 0.5 } })
    expect(other.a.bytes).toBeUndefined()
  })

  it('refuses inputs of which there are none', async () => {
    const serving = served({ '1': (row) => row })
    await expect(serving.models.compare('m', '1', '1', [])).rejects.toMatchObject({ code: 'INVALID_REQUEST' })
  })
})
