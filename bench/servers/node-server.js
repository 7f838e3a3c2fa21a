/**
 * A server of Node to measure. Arguments: which, the model's file of JSON, options as JSON. Says its port. On `begin`
 * it starts to watch its event loop, and on `end` tells the delay.
 */
import { readFileSync } from 'node:fs'
import { monitorEventLoopDelay } from 'node:perf_hooks'

const [kind = '', specFile = '', options = '{}'] = process.argv.slice(2)
const model = JSON.parse(readFileSync(specFile, 'utf8'))

// Imported where it is needed, so that a bare server's process has no model runtime in it.
const family = kind.startsWith('bare') ? 'bare' : kind.startsWith('naive') ? 'naive' : 'mlserving'
/** @type {Record<string, (model: import('../http-models.js').Prepared, options: unknown) => Promise<number>>} */
const servers = await import(`./${family}.js`)
const port = await servers[kind]?.(model, JSON.parse(options))

const delay = monitorEventLoopDelay({ resolution: 10 })
process.on('message', (word) => {
  if (word === 'begin') {
    delay.reset()
    delay.enable()
    process.send?.('begun')
  } else {
    delay.disable()
    process.send?.({ eventLoopP99Ms: delay.percentile(99) / 1e6 })
  }
})
process.send?.({ port })
