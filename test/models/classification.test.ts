import { expect, it } from 'vitest'
import { classify, outcomeOf, scored } from '../../src/models/classification.js'
import { float32 } from '../../src/tensor/tensor.js'

it('the most probable class is the prediction, its probability the confidence', () => {
  expect(outcomeOf(classify(float32([0.25, 0.75], [1, 2]), ['no', 'yes']))).toEqual({
    prediction: 'yes',
    confidence: 0.75,
    scores: { no: 0.25, yes: 0.75 },
  })
})

it('softmax turns logits into probabilities, also large ones', () => {
  const { prediction, confidence, scores } = classify(float32([1000, 1000 + Math.log(3)]), ['a', 'b'], {
    activation: 'softmax',
  })
  expect(prediction).toBe('b')
  expect(confidence).toBeCloseTo(0.75, 3)
  expect(scores.a + scores.b).toBeCloseTo(1)
})

it('one score is the probability of the second of two classes', () => {
  expect(classify(float32([0], [1, 1]), ['a', 'b'], { activation: 'sigmoid' })).toMatchObject({
    confidence: 0.5,
  })
  expect(classify(float32([0.25]), ['a', 'b'])).toMatchObject({ prediction: 'a', confidence: 0.75 })
})

it('scores that do not fit the classes are refused', () => {
  expect(() => classify(float32([1, 2, 3], [1, 3]), ['a', 'b'])).toThrow(
    'classify: 2 classes need one row of as many scores; got float32 [1, 3].',
  )
  expect(() => classify(undefined, ['a'])).toThrow('classify: the model gives no such output')
  expect(() => classify({ dtype: 'string', shape: [1], data: ['a'] }, ['a'])).toThrow(
    /scores must be numbers/,
  )
})

it('a class named __proto__ is a class like any other', () => {
  const { scores } = classify(float32([1, 0]), ['__proto__', 'b'])
  expect(Object.keys(scores)).toEqual(['__proto__', 'b'])
})

it('scored gives a prediction its confidence, and other answers are the prediction', () => {
  expect(outcomeOf(scored({ price: 3 }, 0.5))).toEqual({ prediction: { price: 3 }, confidence: 0.5 })
  expect(outcomeOf([1])).toEqual({ prediction: [1] })
  expect(outcomeOf({ prediction: 1, confidence: 2 })).toEqual({
    prediction: { prediction: 1, confidence: 2 },
  })
})
