import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { routes } from '../../src/http/routes.js'
import { modelFields, versionFields } from '../../src/models/model-config.js'
import { checkFields, text as textField } from '../../src/options.js'

const top = fileURLToPath(new URL('../..', import.meta.url))
const read = (path: string) => readFileSync(join(top, path), 'utf8')
const pages = [
  'README.md',
  'SECURITY.md',
  'CHANGELOG.md',
  ...readdirSync(join(top, 'docs')).map((name) => `docs/${name}`),
].filter((path) => path.endsWith('.md'))

/** The code blocks of a page that are copies of a file: `<!-- file: PATH -->` stands before each. */
function copiesIn(page: string): { page: string; file: string; code: string }[] {
  const pattern = /^<!-- file: (?<file>\S+) -->\n\s*(?:^(?<fence>```+)[^\n]*\n(?<code>[^]*?)^\k<fence>$)?/gm
  return [...read(page).matchAll(pattern)].map(({ groups: { file = '', code = '' } = {} }) => ({
    page,
    file,
    code,
  }))
}

/** What a page shows of a file: the region that it names, or `readme`, or all of it. */
function shownOf(address: string): string {
  const [file = '', name = 'readme'] = address.split('#')
  const whole = read(file)
  const region = new RegExp(`^// #region ${name}\\n(?<code>[^]*?)^// #endregion$`, 'm').exec(whole)
  if (region === null && address.includes('#')) throw new Error(`there is no region ${address}`)
  return region?.groups?.code ?? whole
}

const copies = pages.flatMap(copiesIn)

test('the README shows code that is run', () => {
  expect(copies.filter(({ page }) => page === 'README.md')).not.toEqual([])
})

test.each(copies)('$page shows $file as it is', ({ file, code }) => {
  expect(code).toBe(shownOf(file))
})

/** The blocks of a page that a test must know: what they are in, and what stands before them. */
function blocksIn(page: string): { language: string; code: string; before: string }[] {
  const pattern = /(?<before>[^\n]*)\n+^```(?<language>js|ts|json)\n(?<code>[^]*?)^```$/gm
  return [...read(page).matchAll(pattern)].map(({ groups = {} }) => {
    const { language = '', code = '', before = '' } = groups
    return { language, code, before }
  })
}

const docs = pages.filter((page) => page.startsWith('docs/'))

test.each(docs)(
  '%s shows no code that is not run or compiled, and no model.json that is not taken',
  (page) => {
    for (const { language, code, before } of blocksIn(page)) {
      if (before.startsWith('<!-- file: ')) continue
      expect(before, code).toMatch(/^<!-- (version's )?model\.json -->$/)
      expect(language).toBe('json')
      const allowed = { ...(before.includes('version') ? versionFields : modelFields), $schema: textField }
      checkFields<object>(JSON.parse(code), allowed, page, 'INVALID_CONFIG')
    }
  },
)

test('the README names every route, docs/rollout.md the admin routes, docs/protocol.md those of V2', () => {
  const [readme, rollout, protocol] = [read('README.md'), read('docs/rollout.md'), read('docs/protocol.md')]
  const pageOf = { admin: rollout, v2: protocol }
  const unnamed = routes.filter(({ method, path, group }) => {
    const page = group === 'admin' || group === 'v2' ? pageOf[group] : readme
    return !page.includes(`\`${method} ${path}\``)
  })
  expect(unnamed).toEqual([])
})

test('docs/architecture.md names every folder and file that lies right in src', () => {
  const page = read('docs/architecture.md')
  const entries = readdirSync(join(top, 'src'), { withFileTypes: true })
  const names = entries.map((entry) => (entry.isDirectory() ? `src/${entry.name}` : entry.name))
  expect(names.filter((name) => !page.includes(`${name}\``))).toEqual([])
})

describe.each(pages)('%s', (page) => {
  test('links only to what is there', () => {
    const targets = [...read(page).matchAll(/\]\((?!\w+:|#)([^)#]+)[^)]*\)/g)].map(
      ([, target = '']) => target,
    )
    expect(targets.filter((target) => !existsSync(join(top, dirname(page), target)))).toEqual([])
  })
})
