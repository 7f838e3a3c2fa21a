import { once } from 'node:events'
import { connect } from 'node:net'
import { readAnswer } from './answer.js'

/** @typedef {(status: number, body: Buffer | undefined) => void} Done a status of 0: the connection has failed */

/**
 * A connection that is kept, for one request at a time. On bare sockets, since a load generator that shares its cores
 * with the server takes away what it costs: this is a fourth of what a `fetch` is.
 */
export class Connection {
  #socket
  /** @type {Done | undefined} */
  #done
  /** @type {Buffer | undefined} */
  #received

  /** @param {import('node:net').Socket} socket */
  constructor(socket) {
    this.#socket = socket
    socket.setNoDelay(true)
    socket.on('data', (bytes) => this.#receive(/** @type {Buffer} */ (bytes)))
    socket.on('error', () => socket.destroy())
    socket.on('close', () => this.#finish(0, undefined))
  }

  /** @param {number} port */
  static async open(port) {
    const socket = connect(port, '127.0.0.1')
    await once(socket, 'connect')
    return new Connection(socket)
  }

  /** Whether another request can be sent. */
  get open() {
    return this.#socket.writable && !this.#socket.readableEnded
  }

  /**
   * @param {Buffer} request
   * @param {Done} done
   */
  send(request, done) {
    this.#done = done
    if (this.open) this.#socket.write(request)
    else setImmediate(() => this.#finish(0, undefined))
  }

  close() {
    this.#socket.destroy()
  }

  /** @param {Buffer} bytes */
  #receive(bytes) {
    this.#received = this.#received === undefined ? bytes : Buffer.concat([this.#received, bytes])
    const answer = readAnswer(this.#received)
    if (answer === undefined) return
    this.#received = undefined
    this.#finish(answer.status, answer.body)
  }

  /**
   * @param {number} status
   * @param {Buffer | undefined} body
   */
  #finish(status, body) {
    const done = this.#done
    this.#done = undefined
    done?.(status, body)
  }
}
