import { describe, expect, it } from 'vitest'
import { InlineChoice } from '../../src/execution/inline-choice.js'

/** What is said after a window of runs in a thread. */
function judged(choice: InlineChoice, computeMs: number, hopMs?: (i: number) => number): string | undefined {
  for (let i = 0; i < 63; i++) expect(choice.inThread(1, computeMs, hopMs?.(i))).toBeUndefined()
  return choice.inThread(1, computeMs, hopMs?.(63))
}

describe('the choice of running inline', () => {
  it('is for runs that cost less than the hop to a thread', () => {
    expect(judged(new InlineChoice(), 0.08, () => 0.09)).toBe(
      'its largest batches cost 80 us, no more than 90 us for a thread',
    )
    expect(judged(new InlineChoice(), 0.08, () => 0.07)).toBeUndefined()
  })

  it('goes by the shortest hop: the others waited for something else', () => {
    expect(judged(new InlineChoice(), 0.08, (i) => (i === 30 ? 0.06 : 5))).toBeUndefined()
  })

  it.each([
    { hops: 'unknown', hopMs: undefined, cheapMs: 0.05 },
    { hops: 'shorter than is possible', hopMs: () => -1, cheapMs: 0.05 },
    { hops: 'long', hopMs: () => 3, cheapMs: 0.1 },
  ])('keeps within bounds where hops are $hops', ({ hopMs, cheapMs }) => {
    expect(judged(new InlineChoice(), cheapMs, hopMs)).toBeDefined()
    expect(judged(new InlineChoice(), cheapMs + 0.001, hopMs)).toBeUndefined()
  })

  it('is given up where runs cost twice what was cheap', () => {
    const choice = new InlineChoice()
    judged(choice, 0.04, () => 0.08)
    choice.clear()
    for (let i = 0; i < 64; i++) expect(choice.inline(1, 0.15)).toBeUndefined()
    const said = Array.from({ length: 7 }, () => choice.inline(1, 0.17))
    expect(said.at(-1)).toBe('too many runs cost more than 160 us inline')
  })

  it('is given up for more rows than can be afforded', () => {
    const choice = new InlineChoice()
    for (let i = 0; i < 64; i++) choice.inThread(2, 0.04, undefined)
    expect(choice.tooManyRows(5)).toBeUndefined()
    expect(choice.tooManyRows(6)).toBe('6 rows would cost up to 120 us inline')
  })

  it('asks for no more than the largest runs of others cost in proportion', () => {
    const choice = new InlineChoice()
    expect(choice.tooManyRows(1000)).toBeUndefined() // nothing is known
    choice.inline(1, 0.01)
    expect(choice.tooManyRows(11)).toBeDefined()
    choice.inline(8, 0.012)
    expect(choice.tooManyRows(64)).toBeUndefined()
    choice.inline(8, 5) // one that was held up says nothing
    expect(choice.tooManyRows(64)).toBeUndefined()
    expect(choice.tooManyRows(70)).toBe('70 rows would cost up to 105 us inline')
  })
})
