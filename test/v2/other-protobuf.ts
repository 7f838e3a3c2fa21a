import { fileURLToPath } from 'node:url'
import { loadSync, type MessageTypeDefinition, type ServiceDefinition } from '@grpc/proto-loader'

const files = ['inference.proto', 'health.proto'].map((file) => fileURLToPath(new URL(file, import.meta.url)))
/** Another implementation of the protocol's messages, which ours is checked against. */
const definition = loadSync(files, {
  keepCase: true,
  longs: String,
  defaults: true,
  oneofs: false,
})

type Plain = Record<string, unknown>

/** A type of messages of `inference`, as the other implementation has it: 64-bit integers are texts. */
export function otherType(name: string): { encode(value: object): Buffer; decode(bytes: Uint8Array): Plain } {
  const { serialize, deserialize } = definition[`inference.${name}`] as MessageTypeDefinition<object, Plain>
  return { encode: serialize, decode: (bytes) => deserialize(Buffer.from(bytes)) }
}

export const otherService = definition['inference.GRPCInferenceService'] as ServiceDefinition
export const otherHealth = definition['grpc.health.v1.Health'] as ServiceDefinition
