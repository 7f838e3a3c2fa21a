/** The README shows the summary of the committed results, copied rather than written. */
import { readFileSync, writeFileSync } from 'node:fs'

export const summaryMarks = { begin: '<!-- bench: summary -->', end: '<!-- bench: end -->' }

/**
 * What stands between the marks, these included.
 * @param {string} page
 * @throws {Error} where a mark is missing
 */
export function summaryIn(page) {
  const begin = page.indexOf(summaryMarks.begin)
  const end = page.indexOf(summaryMarks.end)
  if (begin < 0 || end < begin) throw new Error(`there is no ${summaryMarks.begin} ... ${summaryMarks.end}`)
  return page.slice(begin, end + summaryMarks.end.length)
}

/**
 * Replaces the summary in one page by that of another.
 * @param {string} to
 * @param {string} from
 */
export function copySummary(to, from) {
  const page = readFileSync(to, 'utf8')
  const summary = summaryIn(readFileSync(from, 'utf8'))
  writeFileSync(
    to,
    page.replace(summaryIn(page), () => summary),
  )
}
