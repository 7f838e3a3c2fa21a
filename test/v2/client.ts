import { ask, type Answer } from '../http/client.js'
import { joinBody } from '../../src/v2/binary-body.js'

const json = 'application/json'
const binary = 'application/octet-stream'

/** Asks in JSON. */
export function infer(origin: string, model: string, request: unknown, headers = {}): Promise<Answer> {
  const body = typeof request === 'string' ? request : JSON.stringify(request)
  return ask(origin, `/v2/models/${model}/infer`, { body, headers: { 'content-type': json, ...headers } })
}

/** Asks with raw bytes behind the JSON. */
export function inferBinary(
  origin: string,
  model: string,
  request: unknown,
  raws: readonly Uint8Array[],
  headers = {},
): Promise<Answer> {
  const { body, jsonLength } = joinBody(JSON.stringify(request), raws)
  return ask(origin, `/v2/models/${model}/infer`, {
    body,
    headers: { 'content-type': binary, 'inference-header-content-length': jsonLength, ...headers },
  })
}

/** An answer's JSON, and the raw bytes behind it, by output. */
export function partsOf({ bytes, headers }: Answer): {
  readonly head: { readonly outputs: readonly OutputJson[] } & Record<string, unknown>
  readonly raws: Readonly<Record<string, Buffer>>
} {
  const length = Number(headers['inference-header-content-length'] ?? bytes.length)
  const head = JSON.parse(bytes.subarray(0, length).toString()) as ReturnType<typeof partsOf>['head']
  const raws: Record<string, Buffer> = {}
  let at = length
  for (const { name, parameters } of head.outputs) {
    const size = parameters?.binary_data_size
    if (size === undefined) continue
    raws[name] = bytes.subarray(at, at + size)
    at += size
  }
  if (at !== bytes.length) throw new Error(`${bytes.length - at} bytes are of no output`)
  return { head, raws }
}

interface OutputJson {
  readonly name: string
  readonly datatype: string
  readonly shape: readonly number[]
  readonly data?: readonly unknown[]
  readonly parameters?: { readonly binary_data_size?: number }
}

/** The error of an answer that is one. */
export function errorOf({ text }: Answer): unknown {
  return (JSON.parse(text) as { error?: unknown }).error
}

export function float32Bytes(...values: number[]): Uint8Array {
  return new Uint8Array(Float32Array.from(values).buffer)
}
