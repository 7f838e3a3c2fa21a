/**
 * A server of Node to measure. Arguments: which, the model's file of JSON. Says its port. On `begin`
 * it starts to watch its event loop, and on `end` tells the delay.
 */
import { readFileSync } from 'node:fs'
import { monitorEventLoopDelay } from 'node:perf_hooks'

const [kind = '', specFile = ''] = process.argv.slice(2)
const model = JSON.parse(readFileSync(specFile, 'utf8'))

/**
 * Imported where it is needed, so that a bare server's process has no runtime of models in it.
 * @type {Record<string, () => Promise<Record<string, (model: any) => Promise<number>>>>}
 */
const families = {
  bare: () => import('./bare.js'),
  naive: () => import('./naive.js'),
  mlserving: () => import('./mlserving.js'),
}
const family = Object.keys(families).find((name) => kind.startsWith(name)) ?? ''
const servers = await families[family]?.()
const port = await servers?.[kind]?.(model)

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
