import type { Feeds } from '../../src/tensor/tensor.js'
import type { Style, Transport } from './triton-client.js'

/** A server that is asked. */
export interface Subject extends AsyncDisposable {
  /** Host and port, by transport; one that it does not have is left out. */
  readonly addresses: Readonly<Partial<Record<Transport, string>>>
  /** What lets a caller load and unload models. */
  readonly administrator: Readonly<Record<string, string>>
}

export const styles = ['sync', 'aio'] as const satisfies readonly Style[]

/** What a server says is wrong, by transport. */
export const statuses = {
  invalid: { http: '400', grpc: 'StatusCode.INVALID_ARGUMENT' },
  notFound: { http: '404', grpc: 'StatusCode.NOT_FOUND' },
  deadline: { http: '504', grpc: 'StatusCode.DEADLINE_EXCEEDED' },
  unauthorized: { http: '401', grpc: 'StatusCode.UNAUTHENTICATED' },
  unsupported: { http: '400', grpc: 'StatusCode.INVALID_ARGUMENT' },
} as const satisfies Record<string, Record<Transport, string>>

/** An inference of `pair`. */
export function pairFeeds(rows: readonly (readonly [number, number, bigint])[]): Feeds {
  return {
    a: {
      dtype: 'float32',
      shape: [rows.length, 2],
      data: Float32Array.from(rows.flatMap(([first, second]) => [first, second])),
    },
    b: { dtype: 'int64', shape: [rows.length, 1], data: BigInt64Array.from(rows.map(([, , b]) => b)) },
  }
}
