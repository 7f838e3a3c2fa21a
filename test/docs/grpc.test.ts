import { readFileSync } from 'node:fs'
import { status } from '@grpc/grpc-js'
import { expect, test } from 'vitest'
import { statuses } from '../../adapters/grpc/status.js'
import { inferenceMethods, inferenceStreams } from '../../src/v2/grpc-service.js'

const page = readFileSync(new URL('../../docs/grpc.md', import.meta.url), 'utf8')

test('docs/grpc.md has the status of each error', () => {
  const rows = [...page.matchAll(/^\| `([A-Z_]+)` +\| (.*) \|$/gm)]
  const stated = rows.flatMap(([, name = '', errors = '']) =>
    [...errors.matchAll(/`(\w+)`/g)].map(([, error = '']) => [error, name]),
  )
  const actual = Object.entries(statuses).map(([error, each]) => [error, status[each]])
  expect(stated.sort()).toEqual(actual.sort())
})

test('docs/grpc.md names every call', () => {
  expect(
    Object.keys({ ...inferenceMethods, ...inferenceStreams }).filter((name) => !page.includes(`\`${name}\``)),
  ).toEqual([])
})
