import { one, size, unknownSize } from './size.js'
import { type Call, Coupling, each, rowAxis, type Rules, type Value } from './value.js'

/** Recurs over the first axis of [time, rows, features], or with `layout` over the second of [rows, time, features]. */
function recurrent(call: Call): Value[] {
  const dims = call.dims(0)
  const isRowsFirst = call.int('layout', 0) === 1
  const expected = isRowsFirst ? 0 : 1
  call.needRowsAt(expected, 'recurs over the rows')
  call.needFixed('weights', 1, 2, 3, 7)
  needState(call, 4, 0)
  for (const i of [5, 6]) needState(call, i, expected)
  const hidden = call.attribute('hidden_size')?.int()
  const units = hidden === undefined ? unknownSize() : size(hidden)
  const directions = size(call.text('direction') === 'bidirectional' ? 2 : 1)
  const [time, rows] = isRowsFirst ? [dims[1] ?? one, dims[0] ?? one] : [dims[0] ?? one, dims[1] ?? one]
  const last = { dims: isRowsFirst ? [rows, directions, units] : [directions, rows, units] }
  const all = isRowsFirst ? [rows, time, directions, units] : [time, directions, rows, units]
  return [{ dims: all }, last, last]
}

/** @throws Coupling where a state is given that is not each row's own */
function needState(call: Call, i: number, axis: number): void {
  const value = call.inputs[i]
  if (value === undefined || rowAxis(value) === axis) return
  if (rowAxis(call.input(0)) >= 0) throw new Coupling('begins with a state for each place in the batch')
}

/** Rules of the recurrent layers. */
export const recurrentRules: Rules = each('RNN GRU LSTM', recurrent)
