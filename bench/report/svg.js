/** The summary as a picture: bars of throughput and of CPU time a request, relative to naive Fastify. */
import { serverCatalog } from '../servers/catalog.js'
import { measuredServers, shownConcurrency, titleOf } from './summary.js'

/** Of middle lightness, to be read on white and on black. */
const colors = {
  mlservingFastify: '#2f80ed',
  mlservingExpress: '#56b4e9',
  naiveFastify: '#8a8f98',
  naiveExpress: '#a9adb5',
  fastapi: '#009e73',
  mlserver: '#d55e00',
  bentoml: '#cc79a7',
  litserve: '#c99700',
}

const rowHeight = 14
const modelGap = 30
const panel = { left: 150, width: 330, gap: 90 }
const top = 64

/** @param {string} text */
const escape = (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')

/**
 * A scale of powers of two, 1x included: a half is as far from it as the double.
 * @param {readonly number[]} ratios
 */
function scaleOf(ratios) {
  const exponents = ratios.filter((ratio) => ratio > 0).map(Math.log2)
  const low = Math.min(-1, Math.floor(Math.min(...exponents)))
  const high = Math.max(1, Math.ceil(Math.max(...exponents)))
  const step = Math.ceil((high - low) / 6)
  const ticks = []
  for (let exponent = Math.ceil(low / step) * step; exponent <= high; exponent += step)
    ticks.push(2 ** exponent)
  return {
    ticks,
    x: (/** @type {number} */ ratio) => ((Math.log2(ratio) - low) / (high - low)) * panel.width,
  }
}

/** @param {import('./write.js').Measured} measured */
export function picture(measured) {
  const { models, results } = measured
  const concurrency = shownConcurrency(measured)
  const servers = measuredServers(measured).filter((name) => serverCatalog[name]?.kind !== 'limit')
  const groupHeight = servers.length * rowHeight + modelGap
  const height = top + models.length * groupHeight + 10
  const width = panel.left + 2 * panel.width + panel.gap + 60
  const panels = /** @type {const} */ ([
    { name: 'requestsPerSecond', title: `requests/s at concurrency ${concurrency}, more is better` },
    { name: 'cpuMs', title: 'CPU time a request, less is better' },
  ])

  /**
   * @param {typeof panels[number]} which
   * @param {number} left
   */
  const draw = ({ name, title }, left) => {
    const ratios = models.map(({ name: model }) =>
      servers.map((server) =>
        results.ratio({ model, server, concurrency }, { model, server: 'naiveFastify', concurrency }, name),
      ),
    )
    const { ticks, x } = scaleOf(ratios.flat())
    const bars = ratios.flatMap((group, i) =>
      group.flatMap((ratio, j) => {
        if (!(ratio > 0)) return []
        const y = top + i * groupHeight + j * rowHeight + modelGap - 8
        const from = Math.min(x(1), x(ratio))
        const to = Math.max(x(1), x(ratio))
        const color = colors[/** @type {keyof typeof colors} */ (servers[j])] ?? '#8a8f98'
        return [
          `<rect x="${left + from}" y="${y}" width="${Math.max(1, to - from)}" height="${rowHeight - 3}" fill="${color}"/>`,
          `<text class="value" x="${left + to + 4}" y="${y + 9}">${ratio.toFixed(2)}x</text>`,
        ]
      }),
    )
    return [
      `<text class="title" x="${left}" y="22">${escape(title)}</text>`,
      ...ticks.flatMap((tick) => [
        `<line class="${tick === 1 ? 'one' : 'grid'}" x1="${left + x(tick)}" y1="${top - 8}" x2="${left + x(tick)}" y2="${height - 8}"/>`,
        `<text class="tick" x="${left + x(tick)}" y="${top - 14}">${tick < 1 ? `1/${1 / tick}` : tick}x</text>`,
      ]),
      ...bars,
    ]
  }

  const labels = models.flatMap(({ title }, i) => [
    `<text class="model" x="8" y="${top + i * groupHeight + modelGap - 14}">${escape(title)}</text>`,
    ...servers.map(
      (server, j) =>
        `<text class="server" x="${panel.left - 10}" y="${top + i * groupHeight + j * rowHeight + modelGap + 1}">${escape(titleOf(server))}</text>`,
    ),
  ])
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img" aria-label="Throughput and CPU time relative to naive Fastify">`,
    `<style>
text { font: 11px system-ui, sans-serif; fill: #24292f }
.title, .model { font-weight: 600; font-size: 12px }
.server { text-anchor: end }
.tick { text-anchor: middle; fill: #6e7781 }
.value { font-size: 10px }
.grid { stroke: #8a8f98; stroke-opacity: 0.25 }
.one { stroke: #8a8f98 }
@media (prefers-color-scheme: dark) { text { fill: #d0d7de } .tick { fill: #8b949e } }
</style>`,
    ...draw(panels[0], panel.left),
    ...draw(panels[1], panel.left + panel.width + panel.gap),
    ...labels,
    '</svg>',
  ].join('\n')}\n`
}
