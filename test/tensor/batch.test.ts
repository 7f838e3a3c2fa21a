import { expect, it } from 'vitest'
import { bytesOf } from '../../src/tensor/batch.js'
import { float32, strings } from '../../src/tensor/tensor.js'

it('texts weigh something though they are empty', () => {
  expect(bytesOf({ x: strings(Array<string>(1000).fill('')) })).toBe(8000)
  expect(bytesOf({ x: strings(['abc']), y: float32([1, 2], [2]) })).toBe(22)
})
