import { parse } from 'node:path'
import { type Clock, systemClock } from '../clock.js'
import { ServingError } from '../errors.js'
import { AutoSession } from './auto.js'
import { modelBytes } from './external-data.js'
import { InlineSession } from './inline.js'
import { Instances } from './instances.js'
import { type Layout, type LearnedLayout, threadLayouts } from './layout.js'
import { coreCount, sharedPermits } from './permits.js'
import { nameOf, type Provider } from './providers.js'
import type { Place, Session } from './session.js'
import type { SessionOptions } from './session-options.js'
import { ThreadSession } from './thread.js'
import { workerThreads } from './worker-threads.js'

/** Where sessions are to run: `auto` starts in a thread, and goes by what is measured. */
export type Placement = 'auto' | Place

/** What to load, where, and how. */
export interface OpenOptions {
  /** Absolute path of the `.onnx` file. */
  readonly path: string
  /** Default: `"auto"`. */
  readonly placement?: Placement | undefined
  /** Sessions of the artifact, each in a thread of its own. Default: 1, or what `auto` finds best. */
  readonly instances?: number | undefined
  /** Threads one run may use, clamped to the cores. Default: the cores, shared among the instances; 1 when inline. */
  readonly intraOpThreads?: number | undefined
  readonly session?: SessionOptions | undefined
  /** Default: the CPU. */
  readonly providers?: readonly Provider[] | undefined
  /** Whether the file is inspected as well. Default: false. */
  readonly inspect?: boolean | undefined
  /** Rows of the largest batch that is to be expected; `auto` goes by its cost. Default: 1. */
  readonly maxRows?: number | undefined
  /** Told of each of several instances that ends by itself, and is opened again. */
  readonly onInstanceDied?: ((reason: ServingError) => void) | undefined
  /** What an earlier session of the artifact had learnt; `auto` begins with it. */
  readonly learned?: LearnedLayout | undefined
  /** Told of each move of a session that is placed by `auto`, and why. */
  readonly onMoved?: ((message: string) => void) | undefined
  readonly clock?: Clock | undefined
}

/** A model may only move inline where another copy of it is next to nothing in memory and time. */
const smallBytes = 1024 * 1024

/** What the copies of a model may come to where `auto` opens several sessions of it. */
const copiesBytes = 1024 * 1024 * 1024

/**
 * Loads an artifact where its options say.
 * @throws ServingError RUNTIME_MISSING, INVALID_MODEL, WORKER_DIED, and INVALID_OPTIONS for several instances inline
 */
export async function openSession(options: OpenOptions): Promise<Session> {
  const { path, placement = 'auto', instances = 1, session, providers, maxRows = 1 } = options
  const { clock = systemClock, onInstanceDied, onMoved, learned } = options
  if (placement === 'inline' && instances > 1) {
    throw new ServingError(
      'INVALID_OPTIONS',
      `${path}: ${instances} instances inline would take turns on one thread; leave out instances, or placement.`,
    )
  }
  const cores = Math.min(coreCount(), sharedPermits().total)
  const share = Math.max(1, Math.floor(cores / instances))
  const intraOpThreads = Math.min(options.intraOpThreads ?? share, cores)
  let { inspect } = options
  const openOne = (place: Place, threads: number): Promise<Session> => {
    const artifact = { path, session, providers, inspect }
    inspect = false // once is enough
    return place === 'inline'
      ? InlineSession.create({ ...artifact, intraOpThreads: 1 })
      : ThreadSession.create({ ...artifact, intraOpThreads: threads })
  }
  const open = (layout: Layout): Promise<Session> => {
    const one = () => openOne(layout.placement, layout.intraOpThreads)
    return layout.instances > 1 ? Instances.create(layout.instances, one, { clock, onInstanceDied }) : one()
  }

  const fixed: Layout = {
    placement: placement === 'inline' ? 'inline' : 'thread',
    instances,
    intraOpThreads,
  }
  const onCpu = (providers ?? []).every((provider) => nameOf(provider) === 'cpu')
  if (placement !== 'auto' || instances > 1 || !onCpu) return open(fixed)
  const bytes = await modelBytes(path, copiesBytes)
  const mayInline = isSafeInline() && bytes <= smallBytes
  const isOpen = options.instances === undefined && options.intraOpThreads === undefined
  const layouts = isOpen ? threadLayouts(cores, copiesBytes / bytes) : ([fixed] as const)
  if (!mayInline && layouts.length === 1) return open(fixed)
  return AutoSession.create(open, { layouts, mayInline, maxRows, cores, learned, onMoved, clock })
}

/**
 * Whether the runtime may be loaded into this thread without being asked to. Not in a worker, which its host may stop
 * at any moment; nor in a context of node:vm, such as a test of Jest's, whose files would each load a copy into the
 * one thread. Either would abort the process.
 */
function isSafeInline(): boolean {
  // What Node makes itself is of the main realm.
  return workerThreads().isMainThread && Object.getPrototypeOf(parse('')) === Object.prototype
}
