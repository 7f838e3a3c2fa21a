import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { onTestFinished } from 'vitest'

/** What a server does with one request after another; the last entry with all that follow. */
export type Behaviour =
  /** Answers, ranges too. */
  | 'serve'
  /** Answers, and knows no ranges. */
  | 'whole'
  /** Closes the connection after so many bytes of the body. */
  | { readonly cutAfter: number }
  /** Never answers. */
  | 'hang'
  | { readonly status: number }
  | { readonly redirect: string }

/** A server of one file, on a port of this machine that goes when the test is over. */
export async function artifactServer(content: Uint8Array, behaviours: Behaviour[] = ['serve']) {
  const requests: IncomingMessage[] = []
  const server = createServer((req, res) => {
    const behaviour = behaviours[Math.min(requests.length, behaviours.length - 1)] ?? 'serve'
    requests.push(req)
    answer(req, res, content, behaviour)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => close(server))
  const { port } = server.address() as AddressInfo
  return { url: `http://127.0.0.1:${port}/model.onnx?token=secret`, requests, close: () => close(server) }
}

function answer(req: IncomingMessage, res: ServerResponse, content: Uint8Array, behaviour: Behaviour): void {
  if (typeof behaviour === 'object' && 'status' in behaviour)
    return void res.writeHead(behaviour.status).end()
  if (typeof behaviour === 'object' && 'redirect' in behaviour)
    return void res.writeHead(302, { location: behaviour.redirect }).end()
  if (behaviour === 'hang') return
  const asked = behaviour === 'whole' ? undefined : /^bytes=(\d+)-$/.exec(req.headers.range ?? '')?.[1]
  const from = Number(asked ?? 0)
  if (from >= content.length && from > 0)
    return void res.writeHead(416, { 'content-range': `bytes */${content.length}` }).end()
  const body = content.subarray(from)
  res.writeHead(asked === undefined ? 200 : 206, {
    'content-length': body.length,
    ...(asked !== undefined && { 'content-range': `bytes ${from}-${content.length - 1}/${content.length}` }),
  })
  if (typeof behaviour !== 'object') return void res.end(body)
  res.write(body.subarray(0, behaviour.cutAfter), () => setTimeout(() => res.destroy(), 20))
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve())
    server.closeAllConnections()
  })
}
