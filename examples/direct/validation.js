// A version that has to prove itself before it serves: node examples/direct/validation.js
import { createServing } from 'mlserving'

const serving = createServing('./examples/models')
await serving.ready()

// #region validation
const cases = './examples/models/sentiment/2.0/golden.jsonl'

const report = await serving.models.validate('sentiment', '2.0', cases, { maxLatencyMs: { p95: 50 } })
console.log(report.accuracy, report.latencyMs.p95, report.mismatches, report.slo.met)

// Only a version that passes serves; else VALIDATION_FAILED, and what serves is as it was.
await serving.models.switchVersion('sentiment', '2.0', { validate: { cases, minAccuracy: 0.98 } })

const { a, b, agreement } = await serving.models.compare('sentiment', '1.0', '2.0', cases)
console.log(a.bytes, b.bytes, a.latencyMs.p50, b.latencyMs.p50, agreement.same)
// #endregion

await serving.close()
