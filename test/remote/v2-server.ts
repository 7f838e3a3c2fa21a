import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { onTestFinished } from 'vitest'

/** How a server of the protocol misbehaves for now. */
export type Fault = 'none' | 'hang up' | 'hang' | 'busy' | 'broken' | 'no JSON' | 'refuses' | 'break off'

/**
 * A server of the protocol in JSON, whose model `m` multiplies `x` (float32 [-1, 2]) by the number of its version into
 * `y`, and which misbehaves on demand.
 */
export class V2Server {
  fault: Fault = 'none'
  /** Of the model. */
  isReady = true
  /** Inference requests, those that failed included, by version. */
  readonly asked: string[] = []
  /** Rows of each request that was answered. */
  readonly rows: number[] = []
  /** Requests that the client gave up. */
  hungUp = 0
  readonly #server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => this.#answer(request.url ?? '', Buffer.concat(chunks).toString(), response))
  })

  private constructor(
    readonly versions: string[],
    private readonly metadata: object,
  ) {}

  /** Listens on a free port until the test is over. */
  static async start(versions?: string[], metadata?: object): Promise<V2Server> {
    const server = await V2Server.open(versions, metadata)
    onTestFinished(() => server.stop())
    return server
  }

  /** Listens on a free port until it is stopped. */
  static async open(versions: string[] = ['1'], metadata: object = {}): Promise<V2Server> {
    const server = new V2Server(versions, metadata)
    server.#server.listen(0, '127.0.0.1')
    await once(server.#server, 'listening')
    return server
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  async stop(): Promise<void> {
    if (!this.#server.listening) return
    this.#server.close()
    this.#server.closeAllConnections()
    await once(this.#server, 'close')
  }

  #answer(url: string, body: string, response: ServerResponse): void {
    const [, version, what = ''] = /^\/v2\/models\/m(?:\/versions\/([^/]+))?(?:\/(\w+))?$/.exec(url) ?? []
    if (url === '/v2') return send(response, { name: 'test', version: '1', extensions: [] })
    if (!url.startsWith('/v2/models/m') || (version !== undefined && !this.versions.includes(version)))
      return send(response, { error: `no ${url}` }, 404)
    if (what === 'ready') return send(response, {}, this.isReady && this.fault === 'none' ? 200 : 503)
    if (what === '') return send(response, this.#metadata)
    this.#infer(version ?? this.versions.at(-1) ?? '1', body, response)
  }

  get #metadata(): object {
    const tensor = (name: string) => ({ name, datatype: 'FP32', shape: [-1, 2] })
    const { versions } = this
    return {
      name: 'm',
      versions,
      platform: '',
      inputs: [tensor('x')],
      outputs: [tensor('y')],
      ...this.metadata,
    }
  }

  #infer(version: string, body: string, response: ServerResponse): void {
    this.asked.push(version)
    response.on('close', () => {
      if (!response.writableFinished) this.hungUp++
    })
    switch (this.fault) {
      case 'hang up':
        return void response.destroy()
      case 'hang':
        return
      case 'busy':
        return send(response, { error: 'busy' }, 503, { 'retry-after': '0' })
      case 'broken':
        return send(response, { error: 'out of memory' }, 500)
      case 'refuses':
        return send(response, { error: 'x is not good' }, 400)
      case 'no JSON':
        return void response.end('<html>')
      case 'break off':
        response.writeHead(200, { 'content-length': '100' })
        return void response.write('{', () => response.destroy())
      case 'none': {
        const { inputs } = JSON.parse(body) as { inputs: { shape: number[]; data: number[] }[] }
        const { shape = [], data = [] } = inputs[0] ?? {}
        this.rows.push(shape[0] ?? 0)
        const factor = Number(version)
        const y = { name: 'y', datatype: 'FP32', shape, data: data.map((value) => value * factor) }
        send(response, { model_name: 'm', model_version: version, outputs: [y] })
      }
    }
  }
}

function send(
  response: ServerResponse,
  body: object,
  status = 200,
  headers: Record<string, string> = {},
): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body))
}
