import { parentPort, threadId, workerData, type Transferable } from 'node:worker_threads'
import { asServingError, type ErrorCode } from '../errors.js'
import type { Feeds } from '../tensor/tensor.js'
import { Handshake } from './handshake.js'
import { loadRuntime, OnnxSession } from './onnx.js'
import { Permits } from './permits.js'
import type { Artifact, LoadedArtifact, RunResult } from './session.js'

/** What a worker is started with. */
export interface ThreadSetup {
  readonly runtimePath: string
  readonly artifact: Artifact
  readonly handshake: SharedArrayBuffer
  readonly permits: SharedArrayBuffer
}

export type ToWorker =
  { readonly type: 'run'; readonly id: number; readonly feeds: Feeds } | { readonly type: 'close' }

export type FromWorker =
  | { readonly type: 'created'; readonly loaded: LoadedArtifact }
  | { readonly type: 'result'; readonly id: number; readonly result: RunResult }
  | { readonly type: 'failed'; readonly id: number; readonly code: ErrorCode; readonly message: string }
  | { readonly type: 'refused'; readonly code: ErrorCode; readonly message: string }
  | { readonly type: 'closed' }

const port = parentPort
if (port === null) throw new Error('thread-worker runs only in a worker thread')

const setup = workerData as ThreadSetup
const handshake = new Handshake(setup.handshake)
const permits = new Permits(setup.permits)

let session: OnnxSession | undefined

/** Native calls of this thread, one after another. */
let turn: Promise<void> = start()
port.on('message', (message: ToWorker) => {
  turn = turn.then(() => (message.type === 'run' ? run(message.id, message.feeds) : close()))
})
port.on('messageerror', (error) => {
  // A message was lost, and with it the id of who waits for the answer: better a death than a wait without end.
  throw error
})

async function start(): Promise<void> {
  try {
    session = await native(() => OnnxSession.create(loadRuntime(setup.runtimePath), setup.artifact))
    const { signature, providers, warnings, inspection } = session
    send({ type: 'created', loaded: { signature, providers, warnings, inspection } })
  } catch (error) {
    const { code, message } = asServingError(error)
    send({ type: 'refused', code, message })
  }
}

async function run(id: number, feeds: Feeds): Promise<void> {
  try {
    const result = await permitted(() => native(() => current().run(feeds)))
    send({ type: 'result', id, result }, buffersOf(result.outputs))
  } catch (error) {
    const { code, message } = asServingError(error)
    send({ type: 'failed', id, code, message })
  }
}

async function close(): Promise<void> {
  if (session !== undefined) await native(() => current().release())
  send({ type: 'closed' })
}

/** Computes with a permit for each thread of a run, as far as there are so many; they are back before the answer is on its way. */
async function permitted<T>(compute: () => Promise<T>): Promise<T> {
  const taken = permits.acquire(setup.artifact.intraOpThreads, threadId)
  handshake.hold(taken)
  try {
    return await compute()
  } finally {
    handshake.hold(0)
    permits.release(taken)
  }
}

/** Makes a native call, within which this thread must not be stopped. */
async function native<T>(call: () => Promise<T>): Promise<T> {
  // The process is ending: nobody waits for an answer, and none may be computed.
  if (!handshake.enter()) return new Promise<T>(() => {})
  try {
    return await call()
  } finally {
    handshake.leave()
  }
}

function current(): OnnxSession {
  if (session === undefined) throw new Error('the session was not created')
  return session
}

function send(message: FromWorker, transfer: readonly Transferable[] = []): void {
  port?.postMessage(message, transfer)
}

/** The outputs' buffers, each once, to be moved rather than copied. */
function buffersOf(outputs: Feeds): Transferable[] {
  const buffers = new Set<Transferable>()
  for (const { data } of Object.values(outputs)) {
    if (ArrayBuffer.isView(data) && data.byteLength > 0) buffers.add(data.buffer as ArrayBuffer)
  }
  return [...buffers]
}
