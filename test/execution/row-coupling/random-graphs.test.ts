import fc from 'fast-check'
import { expect, it } from 'vitest'
import { checkNeighbours } from '../../../src/batching/neighbour-check.js'
import { findRowCoupling } from '../../../src/execution/row-coupling/row-coupling.js'
import { InlineSession } from '../../../src/execution/inline.js'
import { rowModel } from '../../onnx/coupled.js'
import { type Attribute, type Encoded, float32, int64, node } from '../../onnx/writer.js'
import { modelFolder } from '../support.js'

const write = modelFolder()

/** One operator on `a`, of two axes, that gives `b`, of two axes as well; some couple rows and some do not. */
type Step = (a: string, b: string) => Encoded[]

const on =
  (operator: string, attributes: Record<string, Attribute> = {}, ...more: string[]): Step =>
  (a, b) => [node(operator, [a, ...more], [b], { attributes })]
/** `a` less what an operator makes of it, which is broadcast. */
const less =
  (operator: string, attributes: Record<string, Attribute>): Step =>
  (a, b) => [node(operator, [a], [`${b}_part`], { attributes }), node('Sub', [a, `${b}_part`], [b])]

const pairs: Step = (a, b) => [node('Transpose', [a], [`${b}_t`]), node('MatMul', [a, `${b}_t`], [b])]

const axis = fc.constantFrom(0, 1, -1, -2)
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.constantFrom('Relu', 'Sigmoid', 'Neg', 'Identity').map((operator) => on(operator)),
  axis.map((int) => on('Softmax', { axis: { int } })),
  axis.map((int) => less('ReduceMean', { axes: { ints: [int] } })),
  fc.constant(less('ReduceMax', {})),
  fc.constant(on('Transpose')),
  axis.map((int) => on('CumSum', {}, `axis${int}`)),
  axis.map((int) => on('Concat', { axis: { int } }, 'x')),
  fc.constantFrom('zero_rest', 'rest_three', 'one_rest', 'swap').map((shape) => on('Reshape', {}, shape)),
  fc.constant(on('Add', {}, 'column')),
  fc.constant(on('Add', {}, 'table')),
  fc.constant(on('MatMul', {}, 'square')),
  fc.constant(pairs),
  fc.constantFrom(0, 1).map((int) => on('Flatten', { axis: { int } })),
  axis.map((int) => on('LayerNormalization', { axis: { int } }, 'ones')),
  fc.constant(on('DynamicQuantizeLinear')),
)

const constants = [
  ...[0, 1, -1, -2].map((number) => int64(`axis${number}`, [], [number])),
  int64('zero_rest', [2], [0, -1]),
  int64('rest_three', [2], [-1, 3]),
  int64('one_rest', [2], [1, -1]),
  int64('swap', [2], [-1, 0]),
  float32('column', [1, 3], [0.1, 0.2, 0.3]),
  float32('table', [2, 3], [1, 2, 3, 4, 5, 6]),
  float32('square', [3, 3], [1, 0.5, 0, 0, 1, 0.5, 0.5, 0, 1]),
  float32('ones', [1], [1]),
]

it('finds every coupling that runs can show, in random graphs', async () => {
  const seen = { accepted: 0, coupled: 0 }
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 5 }), async (steps) => {
      const nodes = steps.flatMap((make, i) =>
        make(i === 0 ? 'x' : `a${i - 1}`, i === steps.length - 1 ? 'y' : `a${i}`),
      )
      const bytes = rowModel(nodes, constants, { y: ['', ''] })
      if (findRowCoupling(bytes) !== undefined) {
        seen.coupled++
        return
      }
      const session = await InlineSession.create(write('random', bytes)).catch(() => undefined)
      if (session === undefined) return // not a model
      const run = async (feeds: Parameters<InlineSession['run']>[0]) => (await session.run(feeds)).outputs
      const { verdict, reason } = await checkNeighbours(run, session.signature)
      await session.close()
      if (verdict === 'independent') seen.accepted++
      // A shape that no run of one row has is refused by the runs, as an output of other rows.
      if (verdict === 'coupled') expect(reason).toMatch(/is of the shape/)
    }),
    { numRuns: 300, seed: 4 },
  )
  expect(seen.accepted).toBeGreaterThan(20)
  expect(seen.coupled).toBeGreaterThan(20)
}, 120_000)
