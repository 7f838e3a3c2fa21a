import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { onTestFinished } from 'vitest'

export interface SeenRequest {
  readonly method: string
  readonly url: string
  readonly headers: IncomingMessage['headers']
  readonly body: Buffer
}

/** What a server does with one request. */
export type Act = (response: ServerResponse, request: SeenRequest) => void

export interface ScriptedServer {
  readonly url: string
  /** All that came, in order. */
  readonly seen: SeenRequest[]
  /** Connections that were opened. */
  readonly connections: number
  close(): Promise<void>
}

/** Answers with JSON. */
export const json =
  (value: unknown, status = 200, headers: Record<string, string> = {}): Act =>
  (response) =>
    response
      .writeHead(status, { 'content-type': 'application/json', ...headers })
      .end(typeof value === 'string' ? value : JSON.stringify(value))

/** Hangs up before it answers. */
export const hangUp: Act = (response) => void response.destroy()

/** Begins an answer, and hangs up in the middle of its body. */
export const breakOff: Act = (response) => {
  response.writeHead(200, { 'content-length': '1000' })
  response.write('{"model_name":', () => response.destroy())
}

/** Never answers. */
export const silence: Act = () => {}

/** Metadata of a server that takes binary tensors. */
export const binaryServer = json({ name: 'test', version: '1', extensions: ['binary_tensor_data'] })

/**
 * A server of faults that a real one does not commit on demand: for each path the acts of its requests in turn, the last of
 * which stays.
 */
export async function scripted(script: Record<string, Act | readonly Act[]>): Promise<ScriptedServer> {
  const seen: SeenRequest[] = []
  const counts = new Map<string, number>()
  let connections = 0
  const server = createServer((request, response) => {
    void bodyOf(request).then((body) => {
      const { method = '', url = '', headers } = request
      const seenRequest = { method, url, headers, body }
      seen.push(seenRequest)
      const acts = script[url] ?? json({ error: `no route ${url}` }, 404)
      const list = typeof acts === 'function' ? [acts] : acts
      const count = counts.get(url) ?? 0
      counts.set(url, count + 1)
      list[Math.min(count, list.length - 1)]?.(response, seenRequest)
    })
  }).on('connection', () => connections++)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const close = async () => {
    if (!server.listening) return
    server.close()
    server.closeAllConnections()
    await once(server, 'close')
  }
  onTestFinished(close)
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    close,
    get connections() {
      return connections
    },
  }
}

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  try {
    for await (const chunk of request) chunks.push(chunk as Buffer)
  } catch {
    // The client went.
  }
  return Buffer.concat(chunks)
}
