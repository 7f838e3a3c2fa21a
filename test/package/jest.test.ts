import { writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import path from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { modelsDir, PackedProject, run } from './packed.js'

let project: PackedProject

beforeAll(async () => {
  project = await PackedProject.create()
})

afterAll(async () => {
  await project[Symbol.asyncDispose]()
})

const imports = {
  esm: `import { createServing } from 'mlserving'\nimport { stubServing } from 'mlserving/testing'`,
  cjs: `const { createServing } = require('mlserving')\nconst { stubServing } = require('mlserving/testing')`,
}

/** What a user's tests do: ask a stub, and ask a real model. */
const tests = `
  test('a stub answers as it was told, without onnxruntime', async () => {
    const serving = stubServing({ sentiment: ({ text }) => text.length })
    expect((await serving.predict('sentiment', { text: 'four' })).prediction).toBe(4)
    await serving.close()
  })

  test('a real model answers from its worker thread', async () => {
    const serving = createServing(${JSON.stringify(modelsDir)})
    await serving.ready()
    expect((await serving.predict('sentiment', { text: 'I love it' })).prediction).toBe('positive')
    await serving.close()
  })
`

test.each(['esm', 'cjs'] as const)('works under Jest, %s', async (format) => {
  const app = path.join(project.dir, 'app')
  const file = `works.test.${format === 'esm' ? 'mjs' : 'cjs'}`
  await writeFile(path.join(app, file), `${imports[format]}\n${tests}`)
  const config = { testMatch: [`**/${file}`], transform: {}, testEnvironment: 'node', watchman: false }
  const jest = createRequire(import.meta.url).resolve('jest/bin/jest')
  const args = [jest, '--rootDir', app, '--config', JSON.stringify(config), '--json', '--silent']
  const answer = JSON.parse(
    await run(process.execPath, ['--experimental-vm-modules', ...args], app),
  ) as object
  expect(answer).toMatchObject({ success: true, numPassedTests: 2 })
})
