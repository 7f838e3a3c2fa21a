import { ServingError } from '../errors.js'
import { checkMediaType } from './body.js'
import { eventStream, type EventFormat } from './event-stream.js'
import type { HttpResponse } from './exchange.js'
import { inputOf, optionsOf, readModelRequest, type ModelRequest } from './model-request.js'
import type { Exchange } from './native.js'
import { problem } from './problem.js'

/**
 * An answer item by item, as server-sent events: a message with each item as JSON, then `done`, or `error` with problem
 * details.
 */
export async function postStream(exchange: Exchange): Promise<HttpResponse> {
  const { serving, limits, request, requestId } = exchange
  const startedAt = performance.now()
  if (serving.refusal !== undefined) throw serving.refusal
  checkMediaType(request)
  const asked = await readModelRequest(exchange)
  const stream = serving.predictStream(asked.model, inputOfOne(asked), optionsOf(exchange, asked.version))
  const format: EventFormat = {
    item: (item) => ({ data: item }),
    done: (items) => ({
      name: 'done',
      data: {
        request_id: requestId,
        model_version: stream.meta?.version,
        items,
        latency_ms: performance.now() - startedAt,
      },
    }),
    failed: (error) => ({
      name: 'error',
      data: JSON.parse(problem(error, requestId, serving.logger).body),
    }),
  }
  return eventStream(stream, format, limits.maxStallMs)
}

/** @throws ServingError INVALID_REQUEST */
function inputOfOne({ body }: ModelRequest): unknown {
  if (body instanceof Uint8Array) return body
  if ('instances' in body)
    throw new ServingError('INVALID_REQUEST', 'a stream answers one input: send no instances.')
  return inputOf(body)
}
