import { describe, expect, it } from 'vitest'
import { Link, LinkedList } from '../src/linked-list.js'

class Entry extends Link {
  constructor(readonly name: string) {
    super()
  }
}

const names = (list: LinkedList<Entry>): string => [...list].map(({ name }) => name).join('')

function filled(): { list: LinkedList<Entry>; entries: [Entry, Entry, Entry] } {
  const entries: [Entry, Entry, Entry] = [new Entry('a'), new Entry('b'), new Entry('c')]
  const list = new LinkedList<Entry>()
  for (const entry of entries) list.add(entry)
  return { list, entries }
}

describe('a linked list', () => {
  it('keeps the order of arrival, wherever one leaves', () => {
    for (const [leaving, left] of [
      [0, 'bc'],
      [1, 'ac'],
      [2, 'ab'],
    ] as const) {
      const { list, entries } = filled()
      expect(list.remove(entries[leaving])).toBe(true)
      expect(names(list)).toBe(left)
      expect(list.first?.name).toBe(left[0])
      list.add(entries[leaving])
      expect(names(list)).toBe(left + 'abc'.charAt(leaving))
      expect(list.size).toBe(3)
    }
  })

  it('is empty after the last has left, and can be filled again', () => {
    const { list, entries } = filled()
    for (const entry of entries) list.remove(entry)
    expect(list).toMatchObject({ size: 0, first: undefined })
    list.add(entries[1])
    expect(names(list)).toBe('b')
  })

  it('lets go of one that is in no list, or in another', () => {
    const { list, entries } = filled()
    const other = new LinkedList<Entry>()
    expect(other.remove(entries[0])).toBe(false)
    expect(list.remove(new Entry('d'))).toBe(false)
    expect(names(list)).toBe('abc')
  })

  it('leaves nothing in those that left by which others would be kept', () => {
    const { list, entries } = filled()
    list.remove(entries[1])
    expect(entries[1]).toMatchObject({ list: undefined, previous: undefined, next: undefined })
  })
})
