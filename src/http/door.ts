import { asServingError, type ServingError } from '../errors.js'
import { checkFields, isPlainObject } from '../options.js'
import { createServing, isServing, type AnyServing, type CreateServingOptions } from '../serving.js'
import { checkContext, doorFields, type DoorOptions } from './door-options.js'
import type { HandedOn, HttpRequest, HttpResponse } from './exchange.js'
import type { Limits } from './native.js'
import { problem } from './problem.js'
import { requestIdOf } from './request-id.js'
import { routes, type Route } from './routes.js'

/** A serving behind HTTP: answers a route's requests, and never throws. */
export class Door {
  /** The routes that are mounted. */
  readonly routes: readonly Route[]
  readonly #options: DoorOptions
  readonly #limits: Limits

  private constructor(
    readonly serving: AnyServing,
    /** Whether the door made the serving, and so closes it. */
    readonly ownsServing: boolean,
    options: DoorOptions,
  ) {
    const {
      maxBodyBytes = 16 * 1024 * 1024,
      maxBodyDepth = 64,
      maxBodyElements = 4 * 1024 * 1024,
      maxInstances = 1000,
    } = options
    this.#options = options
    this.#limits = { maxBodyBytes, maxBodyDepth, maxBodyElements, maxInstances }
    this.routes = routes.filter(({ group }) => options.routes?.includes(group) ?? true)
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
  refuse(error: ServingError, headers: HttpRequest['headers']): HttpResponse | HandedOn {
    return this.#failure(error, requestIdOf(headers))
  }

  async answer(route: Route, request: HttpRequest): Promise<HttpResponse | HandedOn> {
    let requestId = requestIdOf(request.headers)
    let said: unknown
    try {
      if (route.group === 'predict') said = await this.#options.context?.(request.source as never)
    } catch (error) {
      return handedOn(error, requestId)
    }
    try {
      const context = checkContext(said)
      requestId = context.requestId ?? requestId
      const { serving } = this
      const response = await route.handle({ serving, limits: this.#limits, request, requestId, context })
      return { ...response, headers: { ...common(requestId), ...response.headers } }
    } catch (error) {
      return this.#failure(error, requestId)
    }
  }

  #failure(cause: unknown, requestId: string): HttpResponse | HandedOn {
    const error = asServingError(cause)
    if (this.#options.errors === 'host') return handedOn(error, requestId)
    const response = problem(error, requestId, this.serving.logger)
    return { ...response, headers: { ...common(requestId), ...response.headers } }
  }
}

/** Every answer is of its moment, and may be about one person. */
function common(requestId: string): Readonly<Record<string, string>> {
  return { 'x-request-id': requestId, 'cache-control': 'no-store' }
}

function handedOn(error: unknown, requestId: string): HandedOn {
  return { error, headers: { 'x-request-id': requestId } }
}
