import { describe, expect, it } from 'vitest'
import { predictMany } from '../src/predict-many.js'

/** Answers inputs with their double, each when the test says so. */
function setUp(failing = new Set<number>()) {
  const underWay = new Map<number, () => void>()
  const aborted: number[] = []
  const predict = (input: number, { signal, whenFull }: { signal?: AbortSignal; whenFull?: string }) =>
    new Promise<number>((resolve, reject) => {
      expect(whenFull).toBe('wait')
      underWay.set(input, () => {
        underWay.delete(input)
        if (failing.has(input)) reject(new Error(`input ${input}`))
        else resolve(input * 2)
      })
      signal?.addEventListener('abort', () => {
        if (!underWay.delete(input)) return
        aborted.push(input)
        reject(new Error('aborted'))
      })
    })
  return { underWay, aborted, predict }
}

const turn = () => new Promise(setImmediate)

/** Numbers from 0; tells how many were taken, and whether it was closed. */
function source(length: number) {
  const state = { taken: 0, closed: false }
  function* numbers() {
    try {
      for (; state.taken < length;) yield state.taken++
    } finally {
      state.closed = true
    }
  }
  return { state, numbers }
}

describe('predictMany', () => {
  it('answers in the order of the inputs, whatever the order of the answers', async () => {
    const { underWay, predict } = setUp()
    const { numbers } = source(3)
    const answers: number[] = []
    const all = (async () => {
      for await (const answer of predictMany(numbers(), predict)) answers.push(answer)
    })()
    await turn()
    for (const input of [2, 1, 0]) underWay.get(input)?.()
    await all
    expect(answers).toEqual([0, 2, 4])
  })

  it('takes no more than maxInFlight ahead of the caller', async () => {
    const { underWay, predict } = setUp()
    const { state, numbers } = source(1000)
    const iterator = predictMany(numbers(), predict, { maxInFlight: 4 })
    const first = iterator.next()
    await turn()
    expect([state.taken, underWay.size]).toEqual([4, 4])
    underWay.get(3)?.()
    await turn()
    expect(state.taken).toBe(4)
    underWay.get(0)?.()
    expect((await first).value).toBe(0)
    await turn()
    expect(state.taken).toBe(4)
    void iterator.next()
    await turn()
    expect(state.taken).toBe(5)
    const ended = iterator.return()
    for (const end of [...underWay.values()]) end()
    await ended
  })

  it('reads an asynchronous source as well', async () => {
    async function* later() {
      for (const input of [1, 2, 3]) {
        await turn()
        yield input
      }
    }
    const answers: number[] = []
    for await (const answer of predictMany(later(), async (input: number) => input + 1)) answers.push(answer)
    expect(answers).toEqual([2, 3, 4])
  })

  it('gives each answer as soon as it is there, and does not wait for inputs that are yet to come', async () => {
    async function* live() {
      yield 1
      await new Promise<never>(() => {})
    }
    const answers = predictMany(live(), async (input: number) => input * 2)
    expect(await answers.next()).toEqual({ done: false, value: 2 })
    void answers.return()
  })

  it('notices an abort while the source has nothing to give', async () => {
    async function* silent(): AsyncGenerator<number> {
      await new Promise<never>(() => {})
      yield 1
    }
    const caller = new AbortController()
    const answers = predictMany(silent(), async (input: number) => input, { signal: caller.signal })
    const first = answers.next()
    caller.abort()
    await expect(first).rejects.toMatchObject({ code: 'ABORTED' })
  })

  it('ends with the first failure, aborts what is under way, and closes the source', async () => {
    const { underWay, aborted, predict } = setUp(new Set([1]))
    const { state, numbers } = source(1000)
    const answers: number[] = []
    const all = (async () => {
      for await (const answer of predictMany(numbers(), predict, { maxInFlight: 4 })) answers.push(answer)
    })()
    await turn()
    underWay.get(0)?.()
    underWay.get(1)?.()
    await expect(all).rejects.toThrow('input 1')
    expect(answers).toEqual([0])
    expect(aborted).toEqual([2, 3, 4])
    expect(state.closed).toBe(true)
  })

  it('aborts what is under way and closes the source where the caller stops early', async () => {
    const { underWay, aborted, predict } = setUp()
    const { state, numbers } = source(1000)
    const all = (async () => {
      for await (const answer of predictMany(numbers(), predict, { maxInFlight: 2 })) {
        expect(answer).toBe(0)
        break
      }
    })()
    await turn()
    underWay.get(0)?.()
    await all
    expect(aborted).toEqual([1])
    expect(state.closed).toBe(true)
  })

  it("ends with the caller's own abort", async () => {
    const { aborted, predict } = setUp()
    const caller = new AbortController()
    const all = predictMany(source(10).numbers(), predict, { signal: caller.signal, maxInFlight: 2 }).next()
    await turn()
    caller.abort()
    await expect(all).rejects.toMatchObject({ code: 'ABORTED' })
    expect(aborted).toEqual([0, 1])
  })
})
