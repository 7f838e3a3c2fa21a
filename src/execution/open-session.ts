import { parse } from 'node:path'
import { type Clock, systemClock } from '../clock.js'
import { ServingError } from '../errors.js'
import { AutoSession } from './auto.js'
import { checkedBytes, modelBytes } from './external-data.js'
import { inspectedBytes } from './inspection.js'
import { InlineSession } from './inline.js'
import { ModelFile } from './model-file.js'
import { Instances, type InstancesOptions } from './instances.js'
import { type Layout, layoutBesideLoop, type LearnedLayout, threadLayouts } from './layout.js'
import { coreCount, sharedPermits } from './permits.js'
import { openInProcess } from './process.js'
import { nameOf, type Provider } from './providers.js'
import { SeenArtifact } from './seen-artifact.js'
import type { OnCutOff, Place, Session } from './session.js'
import type { SessionOptions } from './session-options.js'
import { openInThread } from './thread.js'
import { workerThreads } from './worker-threads.js'

/** Where sessions are to run: `auto` starts in a thread, and goes by what is measured. */
export type Placement = 'auto' | Place

/** What to load, where, and how. */
export interface OpenOptions {
  /** Absolute path of the `.onnx` file. */
  readonly path: string
  /** Default: `"auto"`. */
  readonly placement?: Placement | undefined
  /** Sessions of the artifact, each in a thread or process of its own. Default: 1, or what `auto` finds best. */
  readonly instances?: number | undefined
  /** Whether a thread is the session's own, or the one that all have who share one. Default: `"own"`. */
  readonly worker?: 'own' | 'shared' | undefined
  /** How long a run may compute before it is given up; not inline. Default: as long as it takes. */
  readonly runTimeoutMs?: number | undefined
  /** How often whoever asks runs a request again whose worker died; not inline. Default: 0. */
  readonly retries?: number | undefined
  /** Threads one run may use, clamped to the cores; inline 1. Default: the cores, shared among the instances. */
  readonly intraOpThreads?: number | undefined
  readonly session?: SessionOptions | undefined
  /** Default: the CPU. */
  readonly providers?: readonly Provider[] | undefined
  /** Whether the file is inspected as well. Default: false. */
  readonly inspect?: boolean | undefined
  /** What earlier sessions had learnt, by the SHA-256 of their artifacts; `auto` begins with it. Default: nothing. */
  readonly learned?: ReadonlyMap<string, LearnedLayout> | undefined
  /** What earlier sessions of the file have seen of it; further ones are of the same bytes. Default: nothing. */
  readonly seen?: SeenArtifact | undefined
  /** Told of each move of a session that is placed by `auto`, and why. */
  readonly onMoved?: ((message: string) => void) | undefined
  readonly instanceEvents?: Omit<InstancesOptions, 'clock'> | undefined
  /** Ends the loads of processes once nobody waits for them any more. Default: they are waited for. */
  readonly onCutOff?: OnCutOff | undefined
  readonly clock?: Clock | undefined
}

/** A model may only move inline where another copy of it is little in memory, and holds up the event loop for some 15 ms at most. */
const smallBytes = 8 * 1024 * 1024

/** What the copies of a model may come to where `auto` opens several sessions of it. */
const copiesBytes = 1024 * 1024 * 1024

/**
 * Loads an artifact where its options say. What ends by itself is opened again, inline apart: see {@link Instances}.
 * @throws ServingError RUNTIME_MISSING, INVALID_MODEL, WORKER_DIED, and INVALID_OPTIONS for what does not go together
 */
export async function openSession(options: OpenOptions): Promise<Session> {
  const { path, placement = 'auto', instances = 1, session, providers, runTimeoutMs } = options
  const { clock = systemClock, instanceEvents, worker, onMoved, onCutOff } = options
  const { learned = new Map<string, LearnedLayout>(), seen = new SeenArtifact() } = options
  const objection = placementObjection(options)
  if (objection !== undefined) throw new ServingError('INVALID_OPTIONS', `${path}: ${objection}`)
  const cores = Math.min(coreCount(), sharedPermits().total)
  const share = Math.max(1, Math.floor(cores / instances))
  const intraOpThreads = Math.min(options.intraOpThreads ?? share, cores)
  let { inspect } = options
  const openOne = (place: Place, threads: number): Promise<Session> => {
    const artifact = { path, session, providers, inspect, runTimeoutMs, intraOpThreads: threads }
    inspect = false // once is enough
    if (place === 'inline') return InlineSession.create({ ...artifact, intraOpThreads: 1 })
    return place === 'process'
      ? openInProcess(artifact, onCutOff)
      : openInThread(artifact, { isShared: worker === 'shared' })
  }
  const open = (layout: Layout): Promise<Session> => {
    const one = () => seen.session(path, () => openOne(layout.placement, layout.intraOpThreads))
    if (layout.placement === 'inline') return one()
    return Instances.create(layout.instances, one, { clock, ...instanceEvents })
  }

  const fixed: Layout = {
    placement: placement === 'auto' ? 'thread' : placement,
    instances,
    intraOpThreads,
  }
  const onCpu = (providers ?? []).every((provider) => nameOf(provider) === 'cpu')
  if (placement !== 'auto' || instances > 1 || !onCpu) return open(fixed)
  const file = await ModelFile.read(path, learned.size > 0 ? inspectedBytes : checkedBytes)
  const bytes = await modelBytes(file, copiesBytes)
  const mayInline = runTimeoutMs === undefined && isSafeInline() && bytes <= smallBytes
  const isGiven = options.instances !== undefined || options.intraOpThreads !== undefined
  const isFixed = isGiven || worker === 'shared'
  const layouts = isFixed ? ([fixed] as const) : threadLayouts(cores, copiesBytes / bytes)
  const spared = isFixed ? undefined : layoutBesideLoop(cores)
  if (!mayInline && layouts.length === 1) return open(fixed)
  const sha256 = learned.size > 0 ? await file.sha256() : undefined
  const known = sha256 === undefined ? undefined : learned.get(sha256)
  return AutoSession.create(open, {
    layouts,
    spared,
    mayInline,
    cores,
    learned: known,
    onMoved,
    clock,
  })
}

/** What of a model's options does not go together, if anything. */
export function placementObjection({
  placement,
  instances = 1,
  worker,
  runTimeoutMs,
  intraOpThreads = 1,
  retries = 0,
}: Pick<OpenOptions, 'placement' | 'instances' | 'worker' | 'runTimeoutMs' | 'intraOpThreads' | 'retries'>):
  string | undefined {
  if (placement === 'inline' && instances > 1)
    return `${instances} instances inline would take turns on one thread; leave out instances, or placement.`
  if (placement === 'inline' && runTimeoutMs !== undefined)
    return 'a run inline holds up the timer that would end it; leave out runTimeoutMs, or placement.'
  if (placement === 'inline' && intraOpThreads > 1)
    return `a run inline has one thread, and intraOpThreads is ${intraOpThreads}; leave out intraOpThreads, or placement.`
  if (placement === 'inline' && retries > 0)
    return 'retries are for workers that die, and inline there is none; leave out retries, or placement.'
  if (worker !== 'shared') return undefined
  if (instances > 1)
    return `${instances} instances in one shared worker would take turns in it; leave out instances, or worker.`
  if (placement === 'process' || placement === 'inline')
    return `a shared worker is a thread; leave out worker, or the placement "${placement}".`
  return undefined
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
