import { ServerInterceptingCall, type ServerInterceptor } from '@grpc/grpc-js'

/** Counts a server's calls, each from its headers to its end. */
export class CallsUnderWay {
  #count = 0
  #onNone = () => {}

  readonly interceptor: ServerInterceptor = (_method, call) =>
    new ServerInterceptingCall(call, {
      start: (start) =>
        start({
          onReceiveMetadata: (metadata, forward) => {
            this.#count++
            forward(metadata)
          },
          // Said of every call, however it ends.
          onCancel: () => {
            if (--this.#count === 0) this.#onNone()
          },
        }),
    })

  /** Waits until there is none. */
  ended(): Promise<void> {
    if (this.#count === 0) return Promise.resolve()
    return new Promise((resolve) => (this.#onNone = resolve))
  }
}
