import { readFileSync } from 'node:fs'
import { errorTable } from 'mlserving'
import { expect, test } from 'vitest'

const page = new URL('../../docs/errors.md', import.meta.url)

test('docs/errors.md lists exactly the errors there are, with their statuses and whether to try again', () => {
  const rows = readFileSync(page, 'utf8')
    .split('\n')
    .filter((line) => /^\|\s*`/.test(line))
    .map((line) => line.split('|').map((cell) => cell.trim()))
    .map(([, code = '', status, retryable, meaning]) => [
      code.replaceAll('`', ''),
      { status, retryable, meaning },
    ])
  expect(Object.fromEntries(rows)).toEqual(
    Object.fromEntries(
      Object.entries(errorTable).map(([code, { status, retryable, meaning }]) => [
        code,
        { status: `${status}`, retryable: retryable ? 'yes' : 'no', meaning },
      ]),
    ),
  )
  expect(rows).toHaveLength(Object.keys(errorTable).length)
})

test('docs/errors.md says of each what to do', () => {
  const [, advice = ''] = readFileSync(page, 'utf8').split('## What to do')
  const named = [...advice.matchAll(/`([A-Z_]{4,})`/g)].map(([, code]) => code)
  expect(named.sort()).toEqual(Object.keys(errorTable).sort())
})
