import type { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import { listenForGood } from '../batching/limits-watch.js'

const callers = new WeakMap<Socket, Caller>()

/** Who waits for answers, and may hang up before they have come. */
export class Caller {
  readonly #hangUp = new AbortController()
  #waiting = 0

  /** Aborted where the caller hangs up while it waits. */
  readonly signal: AbortSignal = this.#hangUp.signal

  private constructor() {
    listenForGood(this.signal)
  }

  /**
   * The caller of a request, who waits from now on for one answer more.
   *
   * All requests of a connection of HTTP/1 have the same: to make a signal for each, and to listen to it, costs as much
   * as to parse a small body. Over HTTP/2 a request is given up alone, and so has its own.
   */
  static of({ socket, httpVersionMajor }: IncomingMessage, res: ServerResponse): Caller {
    const isConnection = httpVersionMajor === 1 && socket instanceof Socket
    let caller = isConnection ? callers.get(socket) : undefined
    if (caller === undefined) {
      caller = new Caller()
      if (isConnection) callers.set(socket, caller)
      caller.#watch(isConnection ? socket : res)
    }
    caller.#waiting++
    return caller
  }

  #watch(connection: Socket | ServerResponse): void {
    // It may have gone while the host's own middleware took its time.
    if (connection.destroyed) this.#hangUp.abort()
    connection.once('close', () => {
      if (this.#waiting > 0) this.#hangUp.abort()
    })
  }

  /** An answer is there. */
  answered(): void {
    this.#waiting--
  }
}
