import { LRUCache } from 'lru-cache'
import { Demand } from '../batching/demand.js'
import { LimitsWatch, type WaitLimits } from '../batching/limits-watch.js'
import type { Priority } from '../batching/waiting.js'
import { systemClock, type Clock } from '../clock.js'
import { asServingError, ServingError } from '../errors.js'
import { Link, LinkedList } from '../linked-list.js'
import { Flights } from './flights.js'

export interface CacheOptions {
  /** How long an answer is given again. Default: 3,600,000 (an hour). */
  readonly ttlMs?: number
  /** Default: 1,000. */
  readonly maxEntries?: number
  /** Default: 64 MiB. An answer larger than this is not kept. */
  readonly maxBytes?: number
  /** How long after its time an answer still stands in for one that failed. Default: 0, not at all. */
  readonly staleOnErrorMs?: number
}

/**
 * How an answer came: `hit` from the cache, `miss` computed, `coalesced` with an equal request under way, `stale`
 * from the cache because computing failed, `off` without a cache.
 */
export type CacheStatus = 'hit' | 'miss' | 'coalesced' | 'stale' | 'off'

export interface CacheAnswer<V> {
  readonly value: V
  readonly status: CacheStatus
}

/** What a cache counts; read when metrics are. */
export interface CacheCounts {
  readonly hits: number
  readonly misses: number
  readonly coalesced: number
  readonly stale: number
  readonly entries: number
  readonly bytes: number
}

export interface PredictionCacheOptions<V> extends CacheOptions {
  /** The bytes an answer keeps alive. */
  readonly sizeOf: (value: V) => number
  readonly clock?: Clock
}

/** What bounds a request to the cache, and how urgent it is. */
export interface CacheLimits extends WaitLimits {
  /** Default: 1. */
  readonly priority?: Priority | undefined
  /** Whether to wait for an equal computation that another began, and let others wait for this one. Default: true. */
  readonly joins?: boolean | undefined
  /** What the computation does where a queue is full. Default: it is refused. */
  readonly whenFull?: 'reject' | 'wait' | undefined
}

/** A deadline that is so much later may be met where the earlier one could not be. */
const laterMs = 10

interface Entry<V> {
  readonly value: V
  readonly freshUntil: number
}

/** A request that waits for a computation. */
class Waiter<V> extends Link {
  /** Ends the watch of its limits. */
  unwatch: (() => void) | undefined

  constructor(
    readonly resolve: (value: V) => void,
    readonly reject: (error: ServingError) => void,
  ) {
    super()
  }
}

/** A computation that several equal requests wait for. It belongs to none: the last that gives up ends it. */
interface Flight<V> {
  readonly key: string
  /** Of who began it: what it may be refused by. */
  readonly limits: CacheLimits
  readonly demand: Demand
  readonly waiters: LinkedList<Waiter<V>>
}

/**
 * Answers by key, for a time, the least recently used leaving first; and one computation for equal requests that
 * are under way together. Errors are never kept.
 */
export class PredictionCache<V extends object> {
  readonly #entries: LRUCache<string, Entry<V>>
  readonly #flights = new Flights<Flight<V>>()
  readonly #limits: LimitsWatch
  readonly #clock: Clock
  readonly #ttlMs: number
  readonly #sizeOf: (value: V) => number
  #closed = false
  #hits = 0
  #misses = 0
  #coalesced = 0
  #stale = 0
  /** Computations that nobody could join. */
  #unjoined = 0

  constructor(options: PredictionCacheOptions<V>) {
    const { ttlMs = 3_600_000, maxEntries = 1000, maxBytes = 64 * 1024 * 1024, staleOnErrorMs = 0 } = options
    const { clock = systemClock, sizeOf } = options
    this.#clock = clock
    this.#limits = new LimitsWatch(clock)
    this.#ttlMs = ttlMs
    this.#sizeOf = sizeOf
    this.#entries = new LRUCache({
      max: maxEntries,
      maxSize: maxBytes,
      ttl: ttlMs + staleOnErrorMs,
      ttlResolution: 0,
      perf: clock,
    })
  }

  /** The answer of `key` that is kept, without any wait. */
  hit(key: string): V | undefined {
    const entry = this.#entries.get(key)
    if (entry === undefined || this.#clock.now() >= entry.freshUntil) return undefined
    this.#hits++
    return entry.value
  }

  /**
   * The answer of `key`: kept, or under way, or computed.
   *
   * @param compute called where nobody has computed it of late, nor is about to
   * @throws what `compute` throws; ServingError ABORTED or TIMEOUT when the caller's own limit is met
   */
  get(key: string, limits: CacheLimits, compute: (demand: Demand) => Promise<V>): Promise<CacheAnswer<V>> {
    return this.#get(key, limits, compute, false)
  }

  /** @param wasRefused whether it joined a computation that was refused */
  async #get(
    key: string,
    limits: CacheLimits,
    compute: (demand: Demand) => Promise<V>,
    wasRefused: boolean,
  ): Promise<CacheAnswer<V>> {
    const hit = this.hit(key)
    if (hit !== undefined) return { value: hit, status: 'hit' }
    const entry = this.#entries.get(key)
    const { priority = 1, joins = true } = limits
    // A name that no other has: nobody finds it, and it finds nobody.
    const flightKey = joins ? key : `${key} ${++this.#unjoined}`
    const present = this.#flights.get(flightKey)
    const underWay =
      present !== undefined && wasRefused && isBetter(limits, present.limits) ? undefined : present
    const flight = underWay ?? this.#start(key, flightKey, limits, compute)
    const status = underWay === undefined ? 'miss' : 'coalesced'
    if (underWay === undefined) this.#misses++
    else this.#coalesced++
    flight.demand.raise(priority)
    try {
      return { value: await this.#join(flight, limits), status }
    } catch (cause) {
      const error = asServingError(cause)
      // Another's refusal is not this request's: it may come with a higher priority, or be willing to wait. But after
      // one more refusal of a request that came with no less, it is: else many would be refused one after another.
      if (underWay !== undefined && !wasRefused && ServingError.is(error, 'QUEUE_FULL', 'OVERLOADED'))
        return this.#get(key, limits, compute, true)
      // Nothing stands in for an answer that the caller gave up waiting for, or asked for with a wrong input.
      const isCallers = error.status < 500 || error.code === 'TIMEOUT'
      if (entry === undefined || isCallers) throw error
      this.#stale++
      return { value: entry.value, status: 'stale' }
    }
  }

  #start(
    key: string,
    flightKey: string,
    limits: CacheLimits,
    compute: (demand: Demand) => Promise<V>,
  ): Flight<V> {
    const demand = new Demand(limits.priority ?? 1)
    const flight: Flight<V> = { key: flightKey, limits, demand, waiters: new LinkedList() }
    const computing = compute(demand)
    this.#flights.set(flightKey, flight)
    computing.then(
      (value) => {
        this.#keep(key, value)
        this.#settle(flight, ({ resolve }) => resolve(value))
      },
      (error: unknown) => this.#settle(flight, ({ reject }) => reject(asServingError(error))),
    )
    return flight
  }

  #end(flight: Flight<V>): void {
    if (this.#flights.get(flight.key) === flight) this.#flights.delete(flight.key)
  }

  #settle(flight: Flight<V>, tell: (waiter: Waiter<V>) => void): void {
    this.#end(flight)
    for (let waiter = flight.waiters.first; waiter !== undefined; waiter = flight.waiters.first) {
      flight.waiters.remove(waiter)
      waiter.unwatch?.()
      tell(waiter)
    }
  }

  /** Waits for a flight as long as the caller's own limits allow. */
  #join(flight: Flight<V>, limits: WaitLimits): Promise<V> {
    return new Promise<V>((resolve, reject) => {
      const waiter = new Waiter<V>(resolve, reject)
      flight.waiters.add(waiter)
      const giveUp = (error: ServingError): void => {
        this.#leave(flight, waiter)
        reject(error)
      }
      const met = this.#limits.expired(limits)
      if (met !== undefined) return giveUp(met)
      if (limits.signal !== undefined || limits.deadlineMs !== undefined || limits.demand !== undefined) {
        waiter.unwatch = this.#limits.watch(limits, giveUp)
      }
    })
  }

  #leave(flight: Flight<V>, waiter: Waiter<V>): void {
    if (!flight.waiters.remove(waiter)) return
    waiter.unwatch?.()
    if (flight.waiters.size > 0 || this.#flights.get(flight.key) !== flight) return
    // An equal request that comes from here on starts anew, rather than join what is being aborted.
    this.#end(flight)
    flight.demand.abandon()
  }

  #keep(key: string, value: V): void {
    if (this.#closed) return
    const size = Math.max(1, this.#sizeOf(value))
    this.#entries.set(key, { value, freshUntil: this.#clock.now() + this.#ttlMs }, { size })
  }

  get counts(): CacheCounts {
    return {
      hits: this.#hits,
      misses: this.#misses,
      coalesced: this.#coalesced,
      stale: this.#stale,
      entries: this.#entries.size,
      bytes: this.#entries.calculatedSize,
    }
  }

  /** Drops everything, and keeps nothing that is still under way. */
  close(): void {
    this.#closed = true
    this.#entries.clear()
  }
}

/** Whether a request may be let in where one with these other limits was refused. */
function isBetter(limits: CacheLimits, others: CacheLimits): boolean {
  const { priority = 1, whenFull, deadlineMs = Infinity } = limits
  const isPatient = whenFull === 'wait' && others.whenFull !== 'wait'
  return (
    isPatient || priority < (others.priority ?? 1) || deadlineMs - (others.deadlineMs ?? Infinity) > laterMs
  )
}
