import { ServingError } from '../errors.js'
import { isPlainObject, show } from '../options.js'
import type { AnyPrediction } from '../prediction.js'
import { checkMediaType } from './body.js'
import { eventStream, type EventFormat } from './event-stream.js'
import { json, type HttpResponse } from './exchange.js'
import { optionsOf, readModelRequest, type ModelRequest } from './model-request.js'
import type { Exchange } from './native.js'
import { v2Error } from './v2-error.js'

/** Text for text, as a whole. */
export async function postGenerate(exchange: Exchange): Promise<HttpResponse> {
  const { serving } = exchange
  const { model, version, body } = await readGenerateRequest(exchange)
  const { prediction, meta } = await serving.predict(model, body, optionsOf(exchange, version))
  return json(200, { ...nameOf(meta), text_output: textOf(prediction, model) })
}

/**
 * Text for text, piece by piece, as server-sent events; of a model that answers at once, in one piece. The last has no text,
 * and says that it is `done`.
 */
export async function postGenerateStream(exchange: Exchange): Promise<HttpResponse> {
  const { serving, limits, requestId } = exchange
  const { model, version, body } = await readGenerateRequest(exchange)
  const options = optionsOf(exchange, version)
  const stream =
    serving.models.httpProfile(model)?.streams === false
      ? new WholeAnswer(() => serving.predict(model, body, options))
      : serving.predictStream(model, body, options)
  const piece = (text: string, done: boolean) => ({
    data: { ...(stream.meta && nameOf(stream.meta)), text_output: text, done },
  })
  const format: EventFormat = {
    item: (item) => piece(textOf(item, model), false),
    done: () => piece('', true),
    failed: (error) => ({ data: JSON.parse(v2Error(error, requestId, serving.logger).body) }),
  }
  return eventStream(stream, format, limits.maxStallMs)
}

/** A prediction, read as a stream of one item. */
class WholeAnswer {
  meta: AnyPrediction['meta'] | undefined
  #isOver = false

  constructor(private readonly ask: () => Promise<AnyPrediction>) {}

  async next(): Promise<IteratorResult<unknown, undefined>> {
    if (this.#isOver) return { value: undefined, done: true }
    this.#isOver = true
    const { prediction, meta } = await this.ask()
    this.meta = meta
    return { value: prediction }
  }

  return(): Promise<IteratorResult<unknown, undefined>> {
    this.#isOver = true
    return Promise.resolve({ value: undefined, done: true })
  }
}

/**
 * The whole body is the model's input: `text_input`, `parameters`, and what else it takes. It is JSON, whatever its type:
 * that of `curl -d` is a form's.
 * @throws ServingError as {@link readModelRequest}; INVALID_REQUEST
 */
async function readGenerateRequest(exchange: Exchange): Promise<ModelRequest> {
  const { serving, request } = exchange
  if (serving.refusal !== undefined) throw serving.refusal
  checkMediaType(request)
  const asked = await readModelRequest(exchange, true)
  const { text_input: text, parameters } = 'text_input' in asked.body ? asked.body : {}
  if (typeof text !== 'string')
    throw new ServingError('INVALID_REQUEST', `text_input must be a string; got ${show(text)}.`)
  if (parameters !== undefined && !isPlainObject(parameters))
    throw new ServingError('INVALID_REQUEST', `parameters must be an object; got ${show(parameters)}.`)
  return asked
}

function nameOf({ model, version }: { readonly model: string; readonly version: string }) {
  return { model_name: model, model_version: version }
}

/**
 * The text of an answer: itself, its `text_output`, or that of the items of a list one after another.
 * @throws ServingError INVALID_CODEC
 */
function textOf(answer: unknown, model: string): string {
  if (typeof answer === 'string') return answer
  if (Array.isArray(answer)) return answer.map((item) => textOf(item, model)).join('')
  if (isPlainObject(answer) && typeof answer.text_output === 'string') return answer.text_output
  throw new ServingError(
    'INVALID_CODEC',
    `${model}: generate needs answers that are text, or have it as text_output; got ${show(answer)}.`,
  )
}
