import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { onnx } from '../../src/models/definition.js'
import { createServing } from '../../src/create-serving.js'

/** A line of `golden.jsonl`: what a version answers, as another onnxruntime than ours computed it. */
interface GoldenCase {
  readonly input: Readonly<Record<string, unknown>>
  readonly expected: { readonly prediction: unknown; readonly confidence: number }
  readonly tolerance: number
}

const repository = 'examples/models'
const versions = readdirSync(repository).flatMap((model) =>
  readdirSync(join(repository, model), { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => ({ model, version: entry.name })),
)

describe.each(['thread', 'inline'] as const)('an example model, placement %s,', (placement) => {
  it.each(versions)('$model@$version answers its golden cases', async ({ model, version }) => {
    const lines = readFileSync(join(repository, model, version, 'golden.jsonl'), 'utf8')
      .trim()
      .split('\n')
    expect(lines.length).toBeGreaterThanOrEqual(20)
    await using serving = createServing({
      models: { [model]: onnx({ source: join(repository, model), placement }) },
    })
    await serving.models.load(model, version)
    for (const line of lines) {
      const { input, expected, tolerance } = JSON.parse(line) as GoldenCase
      const answer = await serving.predict(model, input, { version })
      expect(answer).toMatchObject({ prediction: expected.prediction, meta: { version } })
      expect(Math.abs(Number(Object(answer).confidence) - expected.confidence)).toBeLessThanOrEqual(tolerance)
    }
  })
})
