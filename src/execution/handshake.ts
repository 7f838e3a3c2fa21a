/**
 * The agreement between a worker thread and the main thread on when the worker may be stopped.
 *
 * Stopping a thread inside onnxruntime's native code aborts the process, so native code is entered only
 * between `enter` and `leave`. Both sides store their own word before they read the other's (Dekker's
 * algorithm), so either the worker sees `stop` and does not enter, or the main thread sees `busy` and waits.
 */
export class Handshake {
  /** [busy, stop, permits held] */
  readonly #words: Int32Array

  constructor(readonly shared: SharedArrayBuffer = new SharedArrayBuffer(3 * Int32Array.BYTES_PER_ELEMENT)) {
    this.#words = new Int32Array(shared)
  }

  /** Worker: asks to enter native code. False: the process is ending, and no native call may be made any more. */
  enter(): boolean {
    Atomics.store(this.#words, 0, 1)
    if (Atomics.load(this.#words, 1) === 0) return true
    this.leave()
    return false
  }

  /** Worker: is out of native code. */
  leave(): void {
    Atomics.store(this.#words, 0, 0)
    Atomics.notify(this.#words, 0)
  }

  /** Worker: notes how many permits it holds, so that they can be returned for it should it die or be given up. */
  hold(permits: number): void {
    Atomics.store(this.#words, 2, permits)
  }

  /** Both: takes over how many permits the worker holds. Who gets them returns them, and the other gets 0. */
  takeHeld(): number {
    return Atomics.exchange(this.#words, 2, 0)
  }

  /** Main: forbids the worker to enter native code from now on. */
  stop(): void {
    Atomics.store(this.#words, 1, 1)
  }

  /** Main: blocks until the worker is out of native code. False: it was not within `timeoutMs`. */
  waitIdle(timeoutMs: number): boolean {
    return Atomics.wait(this.#words, 0, 1, timeoutMs) !== 'timed-out'
  }
}
