/** The README shows the summary of the committed results, copied rather than written. */
import { readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

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
 * The summary of a page as another in a folder above shows it: links lead to the same files.
 * @param {string} page
 * @param {string} folder of the page, from the other
 */
export function summaryFrom(page, folder) {
  return summaryIn(page).replace(/\]\((?!\w+:)/g, `](${folder}/`)
}

/**
 * Replaces the summary in one page by that of another.
 * @param {string} to
 * @param {string} from a path from the folder of `to`
 */
export function copySummary(to, from) {
  const page = readFileSync(to, 'utf8')
  const summary = summaryFrom(readFileSync(join(dirname(to), from), 'utf8'), dirname(from))
  writeFileSync(
    to,
    page.replace(summaryIn(page), () => summary),
  )
}
