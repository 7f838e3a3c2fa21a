import { describe, expect, test } from 'vitest'
import { commentsOf, sections, tables } from './option-tables.js'

const page = tables()

test('docs/configuration.md has a table for each options object, and no other', () => {
  expect(Object.keys(page).sort()).toEqual(Object.keys(sections).sort())
})

describe.each(Object.entries(sections))('the table "%s"', (heading, { fields, documentedBy }) => {
  const rows = page[heading] ?? []
  const comments = Object.assign({}, ...documentedBy.map(commentsOf).reverse()) as Record<string, string>

  test('has every option once, and what it must be, in the words of the messages', () => {
    const stated = rows.map(({ option, expected }) => [option, expected]).sort()
    expect(stated).toEqual(
      Object.entries(fields)
        .map(([option, { expected }]) => [option, expected])
        .sort(),
    )
  })

  test.each(rows)('says of $option the default that the code does', ({ option, default: stated }) => {
    const comment = comments[option] ?? ''
    if (stated === '') expect(comment).not.toContain('Default:')
    else expect(comment).toContain(`Default: ${stated}`)
  })

  test('says what each is', () => {
    const silent = rows.filter(({ meaning, expected }) => meaning === '' && !expected.startsWith('left out'))
    expect(silent).toEqual([])
  })
})

test('the options that the Fastify plugin declares are those of its table', () => {
  const declared = Object.keys(commentsOf('adapters/fastify/index.ts#MlServingOptions'))
  expect(declared.sort()).toEqual((page.Fastify ?? []).map(({ option }) => option).sort())
})
