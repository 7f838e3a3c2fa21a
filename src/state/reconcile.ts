import type { ChangeDraft, ChangeOrigin } from '../models/changes.js'
import type { ServedModel } from '../models/served-model.js'
import type { DesiredModel } from './desired-state.js'

/** What the replicas need of a model. */
export type FollowedModel = Pick<
  ServedModel,
  | 'name'
  | 'isLazy'
  | 'firstLoad'
  | 'current'
  | 'previous'
  | 'versions'
  | 'quarantine'
  | 'traffic'
  | 'load'
  | 'unload'
  | 'rollback'
  | 'wake'
>

/** Who does the parts, and tells of them. */
export interface ReconcileHost {
  /** Does what needs a version, and notes whether that could be had. */
  need<T>(version: string, operation: () => Promise<T>): Promise<T>
  /** Tells of a change that was decided, once it is done here. */
  record<T>(
    draft: ChangeDraft,
    origin: ChangeOrigin,
    operation: (draft: ChangeDraft) => Promise<T>,
  ): Promise<T>
  failed(error: unknown): void
}

/** What came of it: all is as it is desired; some of it could not be done; or the model serves nothing yet. */
export type Reconciled = 'done' | 'failed' | 'asleep'

/**
 * Makes a model what is desired of it, as far as it is not so already. Each part is tried, whatever becomes of the others.
 * Never rejects.
 *
 * @param applied what it was made before, where that is known: what is no longer desired of it goes
 */
export async function reconcile(
  model: FollowedModel,
  desired: DesiredModel,
  applied: DesiredModel | undefined,
  host: ReconcileHost,
): Promise<Reconciled> {
  await model.firstLoad
  if (isAsleep(model)) return 'asleep'
  const origin = originOf(desired, applied)
  let failures = 0
  const part = async (operation: () => Promise<void>) => {
    try {
      await operation()
    } catch (error) {
      failures++
      host.failed(error)
    }
  }

  await part(() => followCurrent(model, desired, applied, origin, host))
  if (model.current === undefined) return failures === 0 ? 'asleep' : 'failed'
  await part(() => followCanary(model, desired, origin, host))
  for (const [label, version] of Object.entries(desired.labels)) {
    await part(() => followLabel(model, label, version, origin, host))
  }
  for (const version of desired.loaded) {
    if (model.versions.get(version)?.state === 'ready') continue
    await part(async () => {
      await host.need(version, () => model.load(version, {}))
    })
  }
  for (const version of applied?.loaded ?? []) {
    const isIdle = version !== model.current.name && model.versions.get(version)?.state === 'ready'
    const isHeld = model.traffic.holder(version) !== undefined
    if (!desired.loaded.includes(version) && isIdle && !isHeld) await part(() => model.unload(version))
  }
  return failures === 0 ? 'done' : 'failed'
}

/** Whether it is loaded by its next request: with what is desired then. */
export function isAsleep({ isLazy, current }: FollowedModel): boolean {
  return isLazy && current === undefined
}

/**
 * Keeps requests from the versions that must not have them: at once, whatever else is being done to the model.
 */
export function heedQuarantines(
  model: FollowedModel,
  desired: DesiredModel,
  applied: DesiredModel | undefined,
  record: ReconcileHost['record'],
): void {
  for (const [version, { actor, reason }] of Object.entries(desired.quarantined)) {
    if (model.quarantine.reasonOf(version) === reason) continue
    model.quarantine.add(version, reason)
    const draft = { action: 'quarantine', model: model.name, to: version } as const
    void record(draft, { actor, reason }, async () => {
      if (model.traffic.shadow?.version === version) await model.traffic.endShadow()
    }).catch(() => {}) // closed
  }
  for (const version of Object.keys(applied?.quarantined ?? {})) {
    if (Object.hasOwn(desired.quarantined, version) || model.quarantine.reasonOf(version) === undefined)
      continue
    model.quarantine.release(version)
    const draft = { action: 'release', model: model.name, to: version } as const
    void record(draft, originOf(desired, applied), async () => {})
  }
}

/** Who made a change. Where several were made since the last look, only the last is known, and not which it was. */
function originOf({ decided }: DesiredModel, applied: DesiredModel | undefined): ChangeOrigin {
  if (decided === undefined || decided.upon !== (applied?.revision ?? 0)) return { actor: 'replica' }
  return { actor: decided.actor, reason: decided.reason }
}

async function followCurrent(
  model: FollowedModel,
  { current, pinned }: DesiredModel,
  applied: DesiredModel | undefined,
  origin: ChangeOrigin,
  host: ReconcileHost,
): Promise<void> {
  const from = model.current?.name
  const isOut = from !== undefined && model.quarantine.reasonOf(from) !== undefined
  if (current === from || (current === applied?.current && !isOut)) return
  if (current !== undefined) {
    const draft = {
      action: pinned === true ? 'rollback' : 'switch',
      model: model.name,
      from,
      to: current,
    } as const
    await host.record(draft, origin, async (change) => {
      change.from = await host.need(current, () => model.load(current, { activate: true }))
    })
  } else if (isOut) {
    // It came to serve here alone, before anything was decided.
    await host.record({ action: 'rollback', model: model.name, from }, origin, async (change) => {
      change.to = (await model.rollback()).version
    })
  }
}

async function followCanary(
  { name: model, traffic }: FollowedModel,
  { canary }: DesiredModel,
  origin: ChangeOrigin,
  host: ReconcileHost,
): Promise<void> {
  const { version: from, percent } = traffic.canary ?? {}
  if (canary?.version === from && canary?.percent === percent) return
  const draft = { action: 'canary', model, percent: canary?.percent, from, to: canary?.version } as const
  await host.record(draft, origin, async () => {
    if (canary === undefined) await traffic.endCanary()
    else await host.need(canary.version, () => traffic.startCanary(canary))
  })
}

async function followLabel(
  { name: model, traffic }: FollowedModel,
  label: string,
  version: string | null,
  origin: ChangeOrigin,
  host: ReconcileHost,
): Promise<void> {
  if (traffic.labels.versionOf(label) === (version ?? undefined)) return
  const from = traffic.labels.versionOf(label)
  const draft = { action: 'label', model, label, from, ...(version !== null && { to: version }) } as const
  await host.record(draft, origin, async () => {
    if (version === null) await traffic.removeLabel(label)
    else await host.need(version, () => traffic.placeLabel(label, version))
  })
}
