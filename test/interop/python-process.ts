import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { inject } from 'vitest'

/** Loading numpy and a server on a busy machine. */
const startLimitMs = 90_000
const stopLimitMs = 30_000

export const pythonFolder = fileURLToPath(new URL('./python/', import.meta.url))

export const { tritonClient, mlserver, triton } = inject('pythonPrograms')

export interface ProgramOptions {
  readonly args?: readonly string[]
  readonly cwd?: string
  readonly env?: Readonly<Record<string, string>>
  /** What the program reads. Default: a pipe, whose other end is the caller's. */
  readonly stdin?: 'pipe' | 'ignore'
}

/** A program of an environment, with the end of what it said on stderr. */
export class PythonProcess implements AsyncDisposable {
  #lastWords = ''

  private constructor(
    readonly child: ChildProcess,
    private readonly name: string,
  ) {
    const keep = (text: string) => (this.#lastWords = (this.#lastWords + text).slice(-20_000))
    child.stderr?.setEncoding('utf8').on('data', keep)
    // Killed, a server would leave processes of its own behind.
    const end = () => child.kill('SIGTERM')
    process.once('exit', end)
    child.once('exit', () => process.off('exit', end))
  }

  /**
   * Starts a program whose stdout is the caller's to read.
   * @param programs the environment's folder of programs, which are found from there
   */
  static start(
    programs: string,
    program: string,
    { args = [], cwd = pythonFolder, env = {}, stdin = 'pipe' }: ProgramOptions = {},
  ) {
    const child = spawn(join(programs, program), args, {
      cwd,
      stdio: [stdin, 'pipe', 'pipe'],
      env: {
        ...process.env,
        PATH: `${programs}:${process.env['PATH'] ?? ''}`,
        PYTHONDONTWRITEBYTECODE: '1',
        ...env,
      },
    })
    return new PythonProcess(child, program)
  }

  /**
   * Starts a server and waits until GET `readyUrl` answers 200. One that does not come up is started again, once.
   * @param programs as for {@link start}
   */
  static async startServer(
    programs: string,
    program: string,
    options: Omit<ProgramOptions, 'stdin'>,
    readyUrl: string,
  ): Promise<PythonProcess> {
    for (let attempt = 1; ; attempt++) {
      // Triton starts its backend by bash, which takes a pipe of Node's for a remote shell's, and so reads ~/.bashrc.
      const server = PythonProcess.start(programs, program, { ...options, stdin: 'ignore' })
      server.child.stdout?.resume()
      try {
        await server.#isReady(readyUrl)
        return server
      } catch (error) {
        await server[Symbol.asyncDispose]()
        if (attempt === 2) throw error
        console.warn(`${String(error)}\n${program} is started again`)
      }
    }
  }

  async #isReady(url: string): Promise<void> {
    const limit = performance.now() + startLimitMs
    while (performance.now() < limit) {
      if (this.#hasEnded) throw this.failure(`ended with ${this.child.exitCode ?? this.child.signalCode}`)
      const status = await fetch(url, { signal: AbortSignal.timeout(5000) }).then(
        (response) => response.status,
        () => 0,
      )
      if (status === 200) return
      await setTimeout(100)
    }
    throw this.failure(`did not answer ${url} within ${startLimitMs / 1000} s`)
  }

  failure(reason: string): Error {
    return new Error(`${this.name} ${reason}: ${this.#lastWords}`)
  }

  get #hasEnded(): boolean {
    return this.child.exitCode !== null || this.child.signalCode !== null
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { child } = this
    if (this.#hasEnded) return
    const ended = once(child, 'exit')
    child.kill('SIGTERM')
    await Promise.race([ended, setTimeout(stopLimitMs, undefined, { ref: false })])
    child.kill('SIGKILL')
  }
}

/** Ports that nobody has just now. */
export async function freePorts(count: number): Promise<readonly number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'))
  await Promise.all(servers.map((server) => once(server, 'listening')))
  const ports = servers.map((server) => (server.address() as AddressInfo).port)
  await Promise.all(
    servers.map(async (server) => {
      server.close()
      await once(server, 'close')
    }),
  )
  return ports
}
