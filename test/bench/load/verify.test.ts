import { describe, expect, test } from 'vitest'
import { requestsFor } from '../../../bench/load/requests.js'
import { agree, verify } from '../../../bench/load/verify.js'
import type { Prepared } from '../../../bench/http-models.js'
import { serve } from './servers.js'

const model: Prepared = {
  name: 'sum',
  title: 'a sum',
  file: '',
  input: { name: 'x', dtype: 'float32', shape: [2] },
  output: 'y',
  rows: [
    [1, 2],
    [3, 4],
  ],
  expected: [[3], [7]],
  runMs: 1,
  batches: [],
}

const bodies = {
  row: { right: (x: number[]) => ({ prediction: [sum(x)] }), rowOf: ({ x }: { x: number[] }) => x },
  batch: { right: (x: number[]) => [[sum(x)]], rowOf: ({ batch: [x = []] }: { batch: number[][] }) => x },
  openInference: {
    right: (x: number[]) => ({ outputs: [{ name: 'y', datatype: 'FP32', shape: [1, 1], data: [sum(x)] }] }),
    rowOf: ({ inputs: [input] }: { inputs: { data: number[] }[] }) => input?.data ?? [],
  },
} as const

const sum = (numbers: readonly number[]) => numbers.reduce((total, number) => total + number, 0)

describe.each(['row', 'batch', 'openInference'] as const)('over the protocol "%s"', (protocol) => {
  const { right, rowOf } = bodies[protocol]

  async function answered(answer: (row: number[]) => unknown, status = 200) {
    const port = await serve((request, response) => {
      const parts: Buffer[] = []
      request.on('data', (part: Buffer) => parts.push(part))
      request.on('end', () => {
        const row = rowOf(JSON.parse(Buffer.concat(parts).toString()))
        response.writeHead(status).end(JSON.stringify(answer(row)))
      })
    })
    const address = { port, path: '/predict', healthPath: '/health', protocol }
    await verify(model, address, requestsFor(model, address))
  }

  test('right answers pass', async () => {
    await expect(answered(right)).resolves.toBeUndefined()
  })

  test('the answer to another row does not', async () => {
    await expect(answered(() => right([3, 4]))).rejects.toThrow('row 0 of sum')
  })

  test('an error does not', async () => {
    await expect(answered(right, 500)).rejects.toThrow('status 500')
  })
})

test('the last digits may differ, the numbers and how many there are may not', () => {
  expect(agree([1.00001, 200.01], [1, 200])).toBe(true)
  expect(agree([1.01], [1])).toBe(false)
  expect(agree([1, 2], [1])).toBe(false)
  expect(agree([NaN], [1])).toBe(false)
})
