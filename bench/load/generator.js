/**
 * The load generator, a process of its own. It is told a target, a server with a model, and then what to do with it;
 * each message is answered by one.
 */
import { readFileSync } from 'node:fs'
import { closedLoop } from './closed-loop.js'
import { openLoop } from './open-loop.js'
import { probe } from './probe.js'
import { healthRequest, requestsFor } from './requests.js'
import { verify } from './verify.js'

/**
 * @typedef {{ do: 'target', specFile: string, address: import('../servers/catalog.js').Address,
 *   headers?: Record<string, string> }} SetTarget
 * @typedef {{ do: 'verify' }} Verify
 * @typedef {{ do: 'closed', concurrency: number, seconds: number, probed: boolean }} Closed
 * @typedef {{ do: 'open', perSecond: number, seconds: number, deadlineMs?: number, probed?: boolean }} Open
 * @typedef {SetTarget | Verify | Closed | Open} Task
 */

/** @type {{ model: import('../http-models.js').Prepared, address: import('../servers/catalog.js').Address, requests: Buffer[] }} */
let target

/** Targets come again in each round; the bytes of their requests are made once. */
const targets = /** @type {Map<string, typeof target>} */ (new Map())

/** @param {SetTarget} task */
function setTarget({ specFile, address, headers }) {
  const key = JSON.stringify([specFile, address, headers])
  const known = targets.get(key)
  if (known !== undefined) return known
  const model = JSON.parse(readFileSync(specFile, 'utf8'))
  const made = { model, address, requests: requestsFor(model, address, headers) }
  targets.set(key, made)
  return made
}

/** @param {Task} task */
async function perform(task) {
  if (task.do === 'target') {
    target = setTarget(task)
    return {}
  }
  const { model, address, requests } = target
  const { port } = address
  if (task.do === 'verify') {
    await verify(model, address, requests)
    return {}
  }
  const load =
    task.do === 'closed' ? closedLoop({ port, requests, ...task }) : openLoop({ port, requests, ...task })
  const health = task.probed ? await probe(port, healthRequest(address), load) : {}
  return { ...(await load), ...health }
}

process.on('message', async (/** @type {Task} */ task) => {
  try {
    process.send?.(await perform(task))
  } catch (error) {
    process.send?.({ error: String(error) })
  }
})
