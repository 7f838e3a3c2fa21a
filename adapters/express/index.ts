import type { IncomingMessage, ServerResponse } from 'node:http'
import { Door } from '../../src/http/door.js'
import type { DoorOptions as CommonOptions, RequestContext } from '../../src/http/door-options.js'
import { nodeHandler } from '../../src/http/node-handler.js'
import type { CreateServingOptions } from '../../src/serving-options.js'
import type { AnyServing } from '../../src/serving.js'

export type { RequestContext }

export type DoorOptions = CommonOptions<IncomingMessage>

/** Express middleware; also what connect and Nest call. */
export interface ServingHandler {
  (req: IncomingMessage, res: ServerResponse, next: (error?: unknown) => void): void
  /** The serving behind the routes. */
  readonly serving: AnyServing
  /**
   * Closes the serving if the handler made it, and the default one with the last handler that uses it. Express has no
   * hook for this: call it when the server closes.
   */
  close(): Promise<void>
}

/**
 * The routes of a serving as Express middleware: `app.use(mlServing())`, under any prefix. What is not one of
 * the routes goes on to the next handler.
 *
 * @param source a serving, which stays the caller's to close; a repository folder; or the options of a serving of
 *   the handler's own, with the door's. Default: the process's default serving, of `./models`
 * @throws ServingError INVALID_OPTIONS
 */
export function mlServing(
  source?: AnyServing | string | (CreateServingOptions & DoorOptions),
  options: DoorOptions = {},
): ServingHandler {
  const door = Door.open(source, options)
  return Object.assign(nodeHandler(door), {
    serving: door.serving,
    close: () => door.close(),
  })
}

export default mlServing
