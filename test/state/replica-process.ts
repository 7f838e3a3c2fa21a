import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, onTestFinished } from 'vitest'
import { bundle } from '../execution/program.js'
import { temporaryRepository } from '../models/temporary-repository.js'

/** Bundles the program of the processes into a folder. @returns its path */
export function bundleReplica(folder: string): Promise<string> {
  return bundle('replica', folder, new URL('./programs/', import.meta.url))
}

export interface ReplicaProcess {
  /** The folder of its own copy of the versions. */
  readonly source: string
  /** Gives it a command, and has its answer. */
  readonly ask: (command: string) => Promise<string>
  /** {@link ask}, of an answer that is JSON. */
  readonly told: (command: string) => Promise<unknown>
  /** Waits until its current version is this one. */
  readonly serves: (version: string) => Promise<void>
  /** Waits until a command's answer, which is JSON, has this in it. */
  readonly until: (command: string, expected: object) => Promise<void>
  readonly kill: () => Promise<void>
  /** Stops it in the middle of whatever it does, until it is continued. */
  readonly stop: () => void
  readonly continue: () => void
  /** Ends it as an operator would. */
  readonly end: () => Promise<void>
}

export interface ReplicaSetting {
  readonly program: string
  readonly stateDir: string
  /** Default: a copy of its own of versions 1, 2 and 3. */
  readonly source?: string
  /** Versions that fail at every request. */
  readonly failing?: readonly string[]
}

/** Starts a process that serves. */
export async function startReplica({
  program,
  stateDir,
  source = temporaryRepository({ '1/x': '', '2/x': '', '3/x': '' }),
  failing = [],
}: ReplicaSetting): Promise<ReplicaProcess> {
  const args = [program, stateDir, source, ...failing]
  const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] })
  const ended = once(child, 'close')
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const next = async () => (await lines.next()).value as string
  onTestFinished(async () => {
    child.kill('SIGKILL')
    await ended
  })
  expect(await next()).toBe('ready')
  const ask = (command: string) => {
    child.stdin.write(`${command}\n`)
    return next()
  }
  const told = async (command: string) => JSON.parse(await ask(command)) as unknown
  return {
    source,
    ask,
    told,
    serves: async (version) => {
      while ((await ask('current')) !== version) await sleep(10)
    },
    until: async (command, expected) => {
      await eventually(() => told(command)).toMatchObject(expected)
    },
    kill: async () => {
      child.kill('SIGKILL')
      await ended
    },
    stop: () => void child.kill('SIGSTOP'),
    continue: () => void child.kill('SIGCONT'),
    end: async () => {
      child.stdin.end()
      await ended
    },
  }
}

/** What comes to be so, on a machine that may be busy. */
export function eventually<T>(value: () => T) {
  return expect.poll(value, { timeout: 20_000, interval: 10 })
}

/** What the file of the state says of the model. */
export function stateIn(stateDir: string) {
  return JSON.parse(readFileSync(join(stateDir, 'state.json'), 'utf8'))
}
