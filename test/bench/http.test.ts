import { execFile } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, onTestFinished, test } from 'vitest'

const top = fileURLToPath(new URL('../..', import.meta.url))

/** The cells of the rows that begin with `title`, in the section of a page under `heading`. */
function cellsIn(page: string, heading: string, title: string): string[][] {
  const section = page.split(`\n${heading}\n`)[1]?.split('\n#')[0] ?? ''
  return section
    .split('\n')
    .map((line) => line.split('|').map((cell) => cell.trim()))
    .filter((cells) => cells[1]?.startsWith(title))
    .map((cells) => cells.slice(1, -1))
}

test('the bench measures two servers and writes a page and a picture', { timeout: 120_000 }, async () => {
  if (!existsSync(join(top, 'dist/index.js')))
    throw new Error('the bench imports what is built: run `npm run build`')
  const out = mkdtempSync(join(tmpdir(), 'mlserving-bench-test-'))
  onTestFinished(() => {
    rmSync(out, { recursive: true })
  })
  const args = ['--models', 'tiny', '--servers', 'naiveFastify,mlservingFastify', '--concurrency', '1,4']
  const brief = ['--seconds', '0.3', '--rounds', '1', '--warm-up-seconds', '0.5', '--parts', 'arrival']
  await promisify(execFile)(process.execPath, ['bench/http.js', ...args, ...brief, '--out', out], {
    cwd: top,
  })

  const page = readFileSync(join(out, 'http.md'), 'utf8')
  for (const title of ['naive Fastify', 'mlserving on Fastify']) {
    const rows = cellsIn(page, '### MLP 64-32-2', title)
    expect(rows.map(([, concurrency]) => concurrency)).toEqual(['1', '4'])
    for (const row of rows) {
      const [rate, , p50, p99] = row.slice(2).map((cell) => Number(cell.replaceAll(',', '').replace('x', '')))
      expect(rate).toBeGreaterThan(0)
      expect(p50).toBeGreaterThan(0)
      expect(p99).toBeGreaterThanOrEqual(p50 ?? NaN)
      if (process.platform === 'linux') expect(Number(row[6])).toBeGreaterThan(0)
      expect(row.at(-1)).toBe('0')
    }
  }
  expect(cellsIn(page, '### MLP 64-32-2', 'naive Fastify')[0]?.[3]).toBe('1.00x')
  expect(cellsIn(page, '## At equal arrival rate', 'MLP 64-32-2')[0]?.slice(1).join()).not.toContain('–')
  expect(page).toContain(`Node ${process.version.slice(1)}`)
  // Two bars for each of the two servers.
  expect(readFileSync(join(out, 'http.svg'), 'utf8').match(/<rect /g)).toHaveLength(4)
})
