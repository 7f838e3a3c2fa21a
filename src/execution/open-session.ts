import { InlineSession } from './inline.js'
import type { Artifact, Session } from './session.js'
import { ThreadSession } from './thread.js'

export type Placement = 'thread' | 'inline'

/** Loads an artifact where `placement` says. @throws ServingError RUNTIME_MISSING, INVALID_MODEL, WORKER_DIED */
export function openSession(placement: Placement, artifact: Artifact): Promise<Session> {
  return placement === 'inline' ? InlineSession.create(artifact) : ThreadSession.create(artifact)
}
