import { expect, test } from 'vitest'
import { planOf } from '../../bench/options.js'

test('the subset leaves models and concurrencies out, `--full` none', () => {
  expect(planOf([]).models.length).toBeLessThan(planOf(['--full']).models.length)
  expect(planOf(['--full']).concurrencies).toEqual([1, 8, 64, 256])
})

test('what is named is measured, and nothing else', () => {
  const args = [
    '--models',
    'tiny,med',
    '--servers',
    'naiveFastify,fastapi',
    '--concurrency',
    '2',
    '--parts',
    '',
  ]
  expect(planOf(args)).toMatchObject({
    models: ['tiny', 'med'],
    servers: ['naiveFastify', 'fastapi'],
    concurrencies: [2],
    parts: [],
  })
  expect(planOf([...args, '--no-python']).servers).toEqual(['naiveFastify'])
})

test.each([
  [['--models', 'tiny,nothing'], '--models: "nothing"'],
  [['--servers', 'apache'], '--servers: "apache"'],
  [['--rounds', 'many'], '--rounds: "many"'],
  [['--concurrency', '1,0'], '--concurrency: "0"'],
])('%j is refused', (args, message) => {
  expect(() => planOf(args)).toThrow(message)
})
