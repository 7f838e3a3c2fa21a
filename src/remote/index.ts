export { remote } from './remote.js'
export type {
  CircuitOptions,
  RemoteAccess,
  RemoteOptions,
  RemoteSignature,
  RemoteVersion,
} from './remote-options.js'
