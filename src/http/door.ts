import type { ServingError } from '../errors.js'
import { checkFields, integer, isPlainObject, type Fields } from '../options.js'
import { createServing, isServing, type AnyServing, type CreateServingOptions } from '../serving.js'
import type { HttpRequest, HttpResponse } from './exchange.js'
import { requestIdOf } from './native.js'
import { problem } from './problem.js'
import type { Route } from './routes.js'

/** What an HTTP door does beyond its serving. */
export interface DoorOptions {
  /** The largest body that is read, in bytes. Default: 16 MiB. */
  readonly maxBodyBytes?: number
  /** The most `instances` of one request. Default: 1000. */
  readonly maxInstances?: number
}

const doorFields: Fields<DoorOptions> = { maxBodyBytes: integer(1), maxInstances: integer(1) }

/** A serving behind HTTP: answers a route's requests, and never throws. */
export class Door {
  readonly #options: Required<DoorOptions>

  private constructor(
    readonly serving: AnyServing,
    /** Whether the door made the serving, and so closes it. */
    readonly ownsServing: boolean,
    { maxBodyBytes = 16 * 1024 * 1024, maxInstances = 1000 }: DoorOptions,
  ) {
    this.#options = { maxBodyBytes, maxInstances }
  }

  /**
   * @param source a serving, a repository folder, or options for a serving of the door's own and for the door
   * @throws ServingError INVALID_OPTIONS
   */
  static open(
    source: AnyServing | string | (CreateServingOptions & DoorOptions),
    options: DoorOptions = {},
  ): Door {
    if (isServing(source) || typeof source === 'string' || !isPlainObject(source)) {
      checkFields<DoorOptions>(options, doorFields, 'mlServing()', 'INVALID_OPTIONS')
      const serving = isServing(source) ? source : createServing(source)
      return new Door(serving, serving !== source, options)
    }
    const own = Object.entries(source).filter(([key]) => Object.hasOwn(doorFields, key))
    const rest = Object.entries(source).filter(([key]) => !Object.hasOwn(doorFields, key))
    const merged: unknown = { ...Object.fromEntries(own), ...options }
    checkFields<DoorOptions>(merged, doorFields, 'mlServing()', 'INVALID_OPTIONS')
    return new Door(createServing(Object.fromEntries(rest)), true, merged)
  }

  /** Answers with an error what no route can be asked about: a path or a header that is no HTTP. */
  refuse(error: ServingError, headers: HttpRequest['headers']): HttpResponse {
    return problem(error, requestIdOf(headers), this.serving.logger)
  }

  async answer(route: Route, request: HttpRequest): Promise<HttpResponse> {
    const requestId = requestIdOf(request.headers)
    try {
      const response = await route.handle({
        serving: this.serving,
        options: this.#options,
        request,
        requestId,
      })
      return { ...response, headers: { ...response.headers, 'x-request-id': requestId } }
    } catch (error) {
      return problem(error, requestId, this.serving.logger)
    }
  }
}
