import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'
import { copySummary, summaryFrom, summaryIn, summaryMarks } from '../../../bench/report/readme.js'

const read = (path: string) =>
  readFileSync(fileURLToPath(new URL(`../../../${path}`, import.meta.url)), 'utf8')

test('the README shows the summary of the committed results', () => {
  expect(summaryIn(read('README.md'))).toBe(summaryFrom(read('bench/results/http.md'), 'bench/results'))
})

test('only what stands between the marks is replaced, and links still lead to the same files', () => {
  const folder = mkdtempSync(join(tmpdir(), 'mlserving-readme-'))
  onTestFinished(() => {
    rmSync(folder, { recursive: true })
  })
  const [to, from] = [join(folder, 'to.md'), join(folder, 'results/from.md')]
  mkdirSync(join(folder, 'results'))
  const { begin, end } = summaryMarks
  writeFileSync(to, `before\n${begin}\nold\n${end}\nafter`)
  writeFileSync(from, `other\n${begin}\n$& ![new](a.svg) [far](https://example.org)\n${end}\n`)
  copySummary(to, 'results/from.md')
  expect(readFileSync(to, 'utf8')).toBe(
    `before\n${begin}\n$& ![new](results/a.svg) [far](https://example.org)\n${end}\nafter`,
  )
})

test('a page without the marks is an error', () => {
  expect(() => summaryIn('nothing')).toThrow(summaryMarks.begin)
})
