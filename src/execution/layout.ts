import type { Place, Session } from './session.js'

/** Where an artifact's sessions run, how many of them, and on how many threads each. */
export interface Layout {
  readonly placement: Place
  /** Sessions beside each other, each with a copy of the model in memory. */
  readonly instances: number
  /** Threads of one run. */
  readonly intraOpThreads: number
}

/** What a session has learnt of its artifact, as plain JSON, for the next session of the same artifact to begin with. */
export interface LearnedLayout {
  /** The cores there were: on another number it says nothing. */
  readonly cores: number
  /** Where the artifact serves best under load. */
  readonly layout: Layout
  /** What layouts of threads gave under load. */
  readonly measured: readonly MeasuredLayout[]
}

export interface MeasuredLayout extends Layout {
  readonly rowsPerMs: number
}

export const inlineLayout: Layout = { placement: 'inline', instances: 1, intraOpThreads: 1 }

/** The layout a session has now. */
export function layoutOf({
  placement,
  instances = 1,
  width,
}: Pick<Session, 'placement' | 'instances' | 'width'>): Layout {
  return { placement, instances, intraOpThreads: Math.max(1, width) }
}

/**
 * The layouts of threads that use all cores: one session on all of them, which answers a lone request soonest, and
 * from one to the next at least twice as many sessions on as many threads less, up to one thread each. Which of them
 * gets most done under load depends on the model: on one core convolutions scale better with threads, models bound
 * by memory with sessions.
 *
 * @param maxInstances how many copies of the model there may be
 */
export function threadLayouts(cores: number, maxInstances: number): [Layout, ...Layout[]] {
  const wide: Layout = { placement: 'thread', instances: 1, intraOpThreads: cores }
  const layouts: [Layout, ...Layout[]] = [wide]
  let last = 1
  for (let instances = 2; instances <= Math.min(cores, maxInstances); instances++) {
    if (cores % instances !== 0 || instances < 2 * last) continue
    layouts.push({ placement: 'thread', instances, intraOpThreads: cores / instances })
    last = instances
  }
  return layouts
}

/** One session on all cores but one, which is the event loop's; undefined where there is but one core. */
export function layoutBesideLoop(cores: number): Layout | undefined {
  return cores < 2 ? undefined : { placement: 'thread', instances: 1, intraOpThreads: cores - 1 }
}

export function isSameLayout(a: Layout, b: Layout): boolean {
  return a.placement === b.placement && a.instances === b.instances && a.intraOpThreads === b.intraOpThreads
}

/** For people, such as "2 sessions of 1 thread". */
export function describeLayout({ placement, instances, intraOpThreads }: Layout): string {
  if (placement === 'inline') return 'a session inline'
  return `${count(instances, 'session')} of ${count(intraOpThreads, placement)}`
}

function count(n: number, what: string): string {
  return `${n} ${what}${n === 1 ? '' : 's'}`
}
