import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { routes } from '../../src/http/routes.js'

const top = fileURLToPath(new URL('../..', import.meta.url))
const read = (path: string) => readFileSync(join(top, path), 'utf8')
const pages = ['README.md', ...readdirSync(join(top, 'docs')).map((name) => `docs/${name}`)].filter((path) =>
  path.endsWith('.md'),
)

/** The code blocks of a page that are copies of a file: `<!-- file: PATH -->` stands before each. */
function copiesIn(page: string): { page: string; file: string; code: string }[] {
  const pattern = /^<!-- file: (?<file>\S+) -->\n\s*(?:^(?<fence>```+)[^\n]*\n(?<code>[^]*?)^\k<fence>$)?/gm
  return [...read(page).matchAll(pattern)].map(({ groups: { file = '', code = '' } = {} }) => ({
    page,
    file,
    code,
  }))
}

/** What a page shows of a file: its region `readme`, or all of it. */
function shownOf(file: string): string {
  const whole = read(file)
  const region = /^\/\/ #region readme\n(?<code>[^]*?)^\/\/ #endregion$/m.exec(whole)
  return region?.groups?.code ?? whole
}

const copies = pages.flatMap(copiesIn)

test('the README shows code that is run', () => {
  expect(copies.filter(({ page }) => page === 'README.md')).not.toEqual([])
})

test.each(copies)('$page shows $file as it is', ({ file, code }) => {
  expect(code).toBe(shownOf(file))
})

test('the README names every route', () => {
  const readme = read('README.md')
  expect(routes.filter(({ method, path }) => !readme.includes(`\`${method} ${path}\``))).toEqual([])
})

describe.each(pages)('%s', (page) => {
  test('links only to what is there', () => {
    const targets = [...read(page).matchAll(/\]\((?!\w+:|#)([^)#]+)[^)]*\)/g)].map(
      ([, target = '']) => target,
    )
    expect(targets.filter((target) => !existsSync(join(top, dirname(page), target)))).toEqual([])
  })
})
