import { createServing, custom } from 'mlserving'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { RequestContext } from '../../src/http/door-options.js'
import { ask, json, post } from '../http/client.js'
import { quietLogger } from '../models/quiet-logger.js'
import { headerOf, hosts } from './hosts.js'
import { asAny, Gate } from './serving.js'

interface Row {
  readonly from: string
}

/** A serving whose model `held` answers one row after another once the gate is open, and what it has run. */
function heldServing(options: { readonly timeoutMs?: number } = {}) {
  const gate = new Gate()
  const ran: string[] = []
  const held = custom({
    load: () => [] as string[],
    concurrency: 1,
    unchecked: true,
    run: async (_, rows: Row[]) => {
      await gate.opened
      ran.push(...rows.map(({ from }) => from))
      return rows.map(({ from }) => from)
    },
    ...options,
  })
  const serving = createServing({ models: { held }, logger: quietLogger() })
  onTestFinished(async () => {
    gate.open()
    await serving.close()
  })
  return { serving: asAny(serving), gate, ran }
}

/** What a host says of a caller, by a header of its own. */
function contextBy(of: (caller: string) => RequestContext) {
  return (request: unknown) => of(headerOf(request, 'x-caller') ?? '')
}

const path = '/models/held/predict'

/** Asks on behalf of a caller. */
function askAs(origin: string, from: string) {
  return post(origin, path, { from }, { 'x-caller': from })
}

/** Waits until so many rows wait for a run. */
async function queued(origin: string, rows: number): Promise<void> {
  const line = new RegExp(`^model_queue_rows{[^}]*} ${rows}$`, 'm')
  while (!line.test((await ask(origin, '/metrics')).text)) await sleep(5)
}

const expired = { status: 504, code: 'TIMEOUT' }

describe.each(hosts)('$name', ({ start }) => {
  test('the timeoutMs of context is the deadline of a request, which ends there with a 504', async () => {
    const { serving, gate } = heldServing()
    await using host = await start(serving, {
      context: contextBy((caller) => (caller === 'hurried' ? { timeoutMs: 30 } : {})),
    })
    const patient = askAs(host.origin, 'patient')
    const running = await askAs(host.origin, 'hurried')
    expect(running.status).toBe(504)
    expect(running.headers['content-type']).toMatch('application/problem+json')
    expect(json(running)).toMatchObject(expired)
    gate.open()
    expect(json(await patient)).toMatchObject({ prediction: 'patient' })
  })

  test('each of the instances has the deadline', async () => {
    const { serving } = heldServing()
    await using host = await start(serving, { context: () => ({ timeoutMs: 30 }) })
    const answer = await post(host.origin, path, { instances: [{ from: 'a' }, { from: 'b' }] })
    expect(json(answer)).toMatchObject({
      predictions: [{ error: { code: 'TIMEOUT' } }, { error: { code: 'TIMEOUT' } }],
    })
  })

  test("a model's own timeoutMs is the deadline of requests that name none", async () => {
    const { serving, gate } = heldServing({ timeoutMs: 30 })
    await using host = await start(serving, {
      context: contextBy((caller) => (caller === 'patient' ? { timeoutMs: 60_000 } : {})),
    })
    const patient = askAs(host.origin, 'patient')
    const other = await askAs(host.origin, 'other')
    expect(other.status).toBe(504)
    expect(json(other)).toMatchObject(expired)
    gate.open()
    expect(json(await patient)).toMatchObject({ prediction: 'patient' })
  })

  test('the tenants of context take turns, however many requests one of them has waiting', async () => {
    const { serving, gate, ran } = heldServing()
    await using host = await start(serving, { context: contextBy((tenant) => ({ tenant })) })
    const answers = [askAs(host.origin, 'large')]
    const more = async (tenant: string, count: number) => {
      const waiting = answers.length - 1
      answers.push(...Array.from({ length: count }, () => askAs(host.origin, tenant)))
      await queued(host.origin, waiting + count)
    }
    await more('large', 12)
    await more('small', 3)
    gate.open()
    for (const answer of await Promise.all(answers)) expect(answer.status).toBe(200)
    // Every second turn is its own, from its first on.
    expect(ran.lastIndexOf('small')).toBeLessThanOrEqual(2 * 3 + 1)
  })

  test('callers of whom the host says nothing wait in one line', async () => {
    const { serving, gate, ran } = heldServing()
    await using host = await start(serving)
    const answers = [askAs(host.origin, 'first')]
    for (const from of ['first', 'first', 'second']) {
      answers.push(askAs(host.origin, from))
      await queued(host.origin, answers.length - 1)
    }
    gate.open()
    await Promise.all(answers)
    expect(ran).toEqual(['first', 'first', 'first', 'second'])
  })
})
