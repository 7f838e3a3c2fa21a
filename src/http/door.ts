import { asServingError, ServingError } from '../errors.js'
import type { Logger } from '../logger.js'
import { checkFields, isPlainObject, show } from '../options.js'
import { borrowDefaultServing } from '../default-serving.js'
import { createServing } from '../create-serving.js'
import { isServing, type AnyServing } from '../serving.js'
import type { CreateServingOptions } from '../serving-options.js'
import { AdminAccess } from './admin-access.js'
import { checkContext, doorFields, type DoorOptions } from './door-options.js'
import type { HandedOn, HttpRequest, HttpResponse, WholeResponse } from './exchange.js'
import type { Limits } from './native.js'
import { problem } from './problem.js'
import { requestIdOf } from './request-id.js'
import { routeGroups, routes, type Route } from './routes.js'
import { v2Error } from './v2-error.js'

/** A serving behind HTTP: answers a route's requests, and never throws. */
export class Door {
  /** The routes that are mounted. */
  readonly routes: readonly Route[]
  readonly #options: DoorOptions
  readonly #limits: Limits
  readonly #access: AdminAccess | undefined
  #isDraining = false

  private constructor(
    readonly serving: AnyServing,
    private readonly giveBack: () => Promise<void>,
    options: DoorOptions,
  ) {
    const {
      maxBodyBytes = 8 * 1024 * 1024,
      maxBodyDepth = 64,
      maxBodyElements = 4 * 1024 * 1024,
      maxInstances = 1000,
      maxStallMs = 60_000,
    } = options
    this.#options = options
    this.#limits = { maxBodyBytes, maxBodyDepth, maxBodyElements, maxInstances, maxStallMs }
    this.#access = options.admin && new AdminAccess(options.admin)
    const groups = options.routes ?? routeGroups
    this.routes = routes.filter(
      ({ group, access }) => groups.includes(group) && (access !== 'admin' || this.#access !== undefined),
    )
  }

  /**
   * @param source a serving; a repository folder; options for a serving of the door's own and for the door; or
   *   undefined, as options that say nothing of a serving: the process's default one
   * @param options of the door, which win over those in `source`
   * @param logger of a serving that the door makes. Default: the console
   * @throws ServingError INVALID_OPTIONS
   */
  static open(
    source: AnyServing | string | (CreateServingOptions & DoorOptions) | undefined,
    options: DoorOptions = {},
    logger?: Logger,
  ): Door {
    const own = isServing(source) || typeof source === 'string' ? source : servingOptionsIn(source)
    const merged: unknown = { ...(own === source ? {} : doorOptionsIn(source)), ...options }
    checkFields<DoorOptions>(merged, doorFields, 'mlServing()', 'INVALID_OPTIONS')
    if (merged.routes?.includes('admin') === true && merged.admin === undefined) {
      throw new ServingError(
        'INVALID_OPTIONS',
        'mlServing(): routes has "admin", which needs the option admin.',
      )
    }
    if (isServing(own)) return new Door(own, async () => {}, merged)
    const byDefault = logger === undefined ? {} : { logger }
    if (own === undefined) {
      const { serving, giveBack } = borrowDefaultServing({ repository: './models', ...byDefault })
      return new Door(serving, giveBack, merged)
    }
    const given = typeof own === 'string' ? { repository: own } : own
    const isEmpty = given.repository === undefined && given.models === undefined
    const serving: AnyServing = createServing({
      ...byDefault,
      ...given,
      ...(isEmpty && { repository: './models' }),
    })
    return new Door(serving, () => serving.close(), merged)
  }

  /** The door's server is about to close: `/ready` says so, whoever else the serving has. */
  drain(): void {
    this.#isDraining = true
  }

  /** Closes the serving where the door made it; gives the default one back; leaves one that was given as it is. */
  close(): Promise<void> {
    return this.giveBack()
  }

  /** Answers with an error what a route can't be asked about: a path or a header that is no HTTP. */
  refuse(route: Route, error: ServingError, headers: HttpRequest['headers']): WholeResponse | HandedOn {
    return this.#failure(route, error, requestIdOf(headers))
  }

  /** Answers what is none of the {@link routes}, where no framework does. */
  notFound(method: string, path: string, headers: HttpRequest['headers']): WholeResponse | HandedOn {
    const error = new ServingError('ROUTE_NOT_FOUND', `there is no ${method} ${path}.`)
    return this.#failure({ group: /\/v2(\/|$)/.test(path) ? 'v2' : 'models' }, error, requestIdOf(headers))
  }

  /** Answers a request of one of the {@link routes}; never rejects. */
  async answer(route: Route, request: HttpRequest): Promise<HttpResponse | HandedOn> {
    let requestId = requestIdOf(request.headers)
    let said: unknown
    if (this.#options.context !== undefined && route.access === 'context') {
      try {
        said = await this.#options.context(request.source as never)
      } catch (error) {
        return handedOn(error, requestId)
      }
    }
    let actor: string | undefined
    if (route.access === 'admin') {
      try {
        const access = await this.#access?.actorOf(request)
        if (typeof access !== 'string') return this.#refused(route, access, requestId)
        actor = access
      } catch (error) {
        return handedOn(error, requestId)
      }
    }
    try {
      const context = checkContext(said)
      requestId = context.requestId ?? requestId
      const { serving } = this
      const response = await route.handle({
        serving,
        limits: this.#limits,
        serverName: this.#options.serverName ?? 'mlserving',
        routes: this.routes,
        takesToken: this.#options.admin?.token !== undefined,
        isAdministered: this.#access !== undefined,
        isDraining: this.#isDraining,
        request,
        requestId,
        context,
        ...(actor !== undefined && { actor }),
      })
      return withCommonHeaders(response, requestId)
    } catch (error) {
      return this.#failure(route, error, requestId, actor !== undefined)
    }
  }

  #refused(route: Route, error: ServingError | undefined, requestId: string): HttpResponse | HandedOn {
    const { method, path } = route
    this.serving.logger.warn({ requestId, method, path, code: error?.code }, 'an admin request was refused')
    return this.#failure(route, error, requestId)
  }

  #failure(
    { group }: Pick<Route, 'group'>,
    cause: unknown,
    requestId: string,
    isTrusted = false,
  ): WholeResponse | HandedOn {
    const error = asServingError(cause)
    if (this.#options.errors === 'host') return handedOn(error, requestId)
    const answer = group === 'v2' ? v2Error : problem
    return withCommonHeaders(answer(error, requestId, this.serving.logger, isTrusted), requestId)
  }
}

/** Every answer is of its moment, and may be about one person. */
function withCommonHeaders<R extends HttpResponse>(response: R, requestId: string): R {
  const common = { 'x-request-id': requestId, 'cache-control': 'no-store' }
  return { ...response, headers: { ...common, ...response.headers } }
}

function handedOn(error: unknown, requestId: string): HandedOn {
  return { error, headers: { 'x-request-id': requestId } }
}

/** What a door was given that is not its own; undefined where that is nothing. */
function servingOptionsIn(source: unknown): CreateServingOptions | undefined {
  if (source === undefined) return undefined
  if (!isPlainObject(source)) {
    throw new ServingError(
      'INVALID_OPTIONS',
      `mlServing() takes a serving, a folder or options; got ${show(source)}.`,
    )
  }
  const rest = Object.entries(source).filter(([key]) => !Object.hasOwn(doorFields, key))
  return rest.length === 0 ? undefined : Object.fromEntries(rest)
}

function doorOptionsIn(source: unknown): object {
  if (!isPlainObject(source)) return {}
  return Object.fromEntries(Object.entries(source).filter(([key]) => Object.hasOwn(doorFields, key)))
}
