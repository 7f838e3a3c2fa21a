import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import type { BodyStream, StreamedResponse } from './exchange.js'

/** Sends a body piece by piece: the next is made once the socket has taken the last. Settles when it is over. */
export async function sendStream(
  res: ServerResponse,
  { status, headers, body }: StreamedResponse,
): Promise<void> {
  // The caller is gone, or the host has answered meanwhile.
  if (res.headersSent || isClosed(res)) {
    await body.return()
    return
  }
  try {
    res.writeHead(status, headers)
    for await (const piece of body) {
      // Who has hung up is sent nothing more, and the break ends the stream.
      if (isClosed(res)) break
      if (!res.write(piece)) await drained(res)
    }
    res.end()
  } catch (error) {
    res.destroy(error instanceof Error ? error : undefined)
  }
}

/** A function, for it changes while a piece is waited for. */
function isClosed(res: ServerResponse): boolean {
  return res.destroyed
}

/** Waits until the socket takes more, or is closed. */
async function drained(res: ServerResponse): Promise<void> {
  const waited = new AbortController()
  const { signal } = waited
  await Promise.race([once(res, 'drain', { signal }), once(res, 'close', { signal })]).finally(() =>
    waited.abort(),
  )
}

/** The same as a stream that reads no more than a piece ahead. */
export function readableOf(body: BodyStream): Readable {
  return Readable.from(body, { objectMode: false, highWaterMark: 0 })
}
