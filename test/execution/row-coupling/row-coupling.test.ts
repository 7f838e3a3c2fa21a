import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, it, test } from 'vitest'
import { findRowCoupling } from '../../../src/execution/row-coupling/row-coupling.js'
import * as coupled from '../../onnx/coupled.js'
import {
  convolution,
  fixedBatch,
  identityModel,
  loopModel,
  mlp,
  twoInputs,
  zipMapModel,
} from '../../onnx/models.js'
import * as rowWise from '../../onnx/row-wise.js'
import { concat, field, float32, int64, model, node, tensorValue } from '../../onnx/writer.js'

const { rowModel } = coupled

describe('a model whose rows affect each other is refused, and the operator named:', () => {
  test.each([
    ['dynamic quantisation', coupled.dynamicallyQuantised(), 'DynamicQuantizeLinear', /all rows/],
    ['its fused form', coupled.dynamicallyQuantisedFused(), 'DynamicQuantizeMatMul', /all rows/],
    ['a mean over axis 0', coupled.meanOverRows(), 'ReduceMean', /reduces over the rows/],
    ['a mean over what was axis 0', coupled.meanAfterTranspose(), 'ReduceMean', /reduces over the rows/],
    ['a reduction without axes', coupled.maxOfAll(), 'ReduceMax', /reduces over the rows/],
    ['a GRU over axis 0', coupled.recurrentOverRows('GRU'), 'GRU', /recurs over the rows/],
    ['an LSTM over axis 0', coupled.recurrentOverRows('LSTM'), 'LSTM', /recurs over the rows/],
    ['a mean inside an If', coupled.meanInsideIf(), 'ReduceMean', /reduces over the rows/],
    ['a mean inside a Loop', coupled.meanInsideLoop(), 'ReduceMean', /reduces over the rows/],
    ['a Scan over axis 0', coupled.scanOverRows(), 'Scan', /recurs over the rows/],
    ['a softmax over axis 0', coupled.softmaxOverRows(), 'Softmax', /normalises over the rows/],
    ['a running sum', coupled.sumOfRowsBefore(), 'CumSum', /rows before/],
    ['normalisation as in training', coupled.normalisedAsInTraining(), 'BatchNormalization', /in training/],
    ['x times its transpose', coupled.similarities(), 'MatMul', /every other/],
    ['sorted rows', coupled.sortedRows(), 'TopK', /rows/],
    ['rows folded into one', coupled.foldedRows(), 'Softmax', /normalises over the rows/],
    ['a division by the number of rows', coupled.dividedByCount(), 'Div', /number of rows/],
    ['the first row beside each', coupled.besideFirstRow(), 'Gather', /among rows/],
  ])('%s', (_, bytes, operator, reason) => {
    expect(findRowCoupling(bytes)).toMatchObject({ operator, reason: expect.stringMatching(reason) })
  })

  it('names the node, also of a graph inside', () => {
    expect(findRowCoupling(coupled.meanInsideIf())?.node).toBe('inside')
  })

  test.each([
    ['Softmax before version 13 normalises over all axes from one on', 12, { axis: { int: 0 } }],
    ['Softmax over all from axis 0', 11, { axis: { int: -2 } }],
  ])('%s', (_, version, attributes) => {
    const bytes = rowModel([node('Softmax', ['x'], ['y'], { attributes })], [], { opsets: { '': version } })
    expect(findRowCoupling(bytes)?.operator).toBe('Softmax')
  })

  it('a constant with a number for each place in the batch', () => {
    const bytes = rowModel([node('Add', ['x', 'w'], ['y'])], [float32('w', [2, 3], [1, 2, 3, 4, 5, 6])])
    expect(findRowCoupling(bytes)?.reason).toBe('joins a row with what belongs to its place in the batch')
  })

  it('rows joined with others', () => {
    const bytes = rowModel([node('Concat', ['x', 'x'], ['y'], { attributes: { axis: { int: 0 } } })])
    expect(findRowCoupling(bytes)?.operator).toBe('Concat')
  })

  it('an operator, or a domain, that is not known', () => {
    const unknown = { operator: 'Wonder', node: 'w', reason: 'is not known to keep rows apart' }
    for (const domain of ['', 'com.microsoft', 'custom.example']) {
      expect(findRowCoupling(rowModel([node('Wonder', ['x'], ['y'], { domain, name: 'w' })]))).toEqual(
        unknown,
      )
    }
    // What is the same for any rows stays so, whatever a standard operator makes of it: not another's.
    const foreign = [
      node('Wonder', ['w'], ['v'], { domain: 'custom.example' }),
      node('Add', ['x', 'v'], ['y']),
    ]
    expect(findRowCoupling(rowModel(foreign, [float32('w', [], [1])]))?.operator).toBe('Wonder')
  })

  it('numbers drawn at random', () => {
    const nodes = [node('RandomNormal', [], ['r'], { attributes: { shape: { ints: [1, 3] } } })]
    expect(findRowCoupling(rowModel([...nodes, node('Add', ['x', 'r'], ['y'])]))?.operator).toBe(
      'RandomNormal',
    )
  })

  it('an output that does not follow the rows', () => {
    const turned = rowModel([node('Transpose', ['x'], ['y'])])
    expect(findRowCoupling(turned)).toEqual({
      operator: 'output',
      node: 'y',
      reason: 'does not follow the rows',
    })
    const split = rowModel([node('Reshape', ['x', 'flat'], ['y'])], [int64('flat', [1], [-1])])
    expect(findRowCoupling(split)?.reason).toBe('does not have one entry for each row')
  })

  it('an input without a leading axis of variable length', () => {
    expect(findRowCoupling(fixedBatch())).toMatchObject({ operator: 'input', node: 'x' })
  })

  it('one features table, where a tree takes a single dimension for the features of one row', () => {
    const bytes = rowModel([node('Normalizer', ['x'], ['y'], { domain: 'ai.onnx.ml' })], [], { x: ['rows'] })
    expect(findRowCoupling(bytes)?.reason).toBe('takes the rows for features')
  })

  it('a mean inside a function of the model', () => {
    expect(findRowCoupling(withFunction(0))?.operator).toBe('ReduceMean')
  })
})

describe('a model whose rows are independent is accepted:', () => {
  test.each([
    ['a network of dense layers', mlp()],
    ['a convolution', convolution({ size: 8, channels: 2, layers: 1 })],
    ['a text', identityModel({ dtype: 'string', shape: ['N'] })],
    ['several inputs and outputs', twoInputs()],
    ['a loop', loopModel({ ms: 1 })],
    ['a ZipMap', zipMapModel({ classes: ['no', 'yes'] })],
    ['axes of other names', rowWise.otherNames('unk__214', 'unk__215')],
    ['axes without names', rowWise.otherNames('', '')],
    ['a transformer, with sizes from Shape', rowWise.attentionBlock()],
    ['heads folded into the rows, and back', rowWise.foldedHeads()],
    ['a GRU over time', rowWise.recurrentOverTime()],
    ['a Scan over time', rowWise.scanOverTime()],
    ['a slice of all rows', rowWise.wholeSlice()],
    ['static quantisation', rowWise.staticallyQuantised()],
    ['an embedding', rowWise.embedding()],
    ['a tree ensemble', rowWise.treeEnsemble()],
    ['a function of the model', withFunction(1)],
  ])('%s', (_, bytes) => {
    expect(findRowCoupling(bytes)).toBeUndefined()
  })

  const examples = new URL('../../../examples/models/', import.meta.url)
  const files = readdirSync(examples, { recursive: true, encoding: 'utf8' })
  test.each(files.filter((file) => file.endsWith('.onnx')))('the example %s', (file) => {
    expect(findRowCoupling(readFileSync(new URL(file, examples)))).toBeUndefined()
  })
})

/** `y` is `x` less its mean over `axis`, by a function of the model's own. */
function withFunction(axis: number) {
  const nodes = [
    node('ReduceMean', ['a'], ['mean'], { attributes: { axes: { ints: [axis] } } }),
    node('Sub', ['a', 'mean'], ['b']),
  ]
  const body = concat([field(1, 'Centre'), field(4, 'a'), field(5, 'b'), field(7, nodes), field(10, 'own')])
  return concat([
    model({
      nodes: [node('Centre', ['x'], ['y'], { domain: 'own' })],
      inputs: [tensorValue('x', 'float32', ['rows', 3])],
      outputs: [tensorValue('y', 'float32', ['rows', 3])],
    }),
    field(25, body),
  ])
}
