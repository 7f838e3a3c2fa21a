/** The forms in which servers take a row and answer: the same numbers, as far as each allows. */

/** @typedef {import('../http-models.js').Prepared} Prepared */

/**
 * @typedef {object} Protocol
 * @property {(model: Prepared, row: unknown) => unknown} body
 * @property {(model: Prepared, answer: any) => readonly number[]} numbers what was predicted
 */

const datatypes = { float32: 'FP32', int64: 'INT64', string: 'BYTES' }

/** @satisfies {Record<string, Protocol>} */
const protocols = {
  /** `{"x": row}`, answered by `{"prediction": numbers}`, or by outputs by name where a model has several. */
  row: {
    body: ({ input }, row) => ({ [input.name]: row }),
    numbers: ({ output }, { prediction }) => (Array.isArray(prediction) ? prediction : prediction[output]),
  },
  /** A batch of one row, answered by one. */
  batch: {
    body: (_model, row) => ({ batch: [row] }),
    numbers: (_model, answer) => answer[0],
  },
  /** The Open Inference Protocol, version 2 of KServe's, in JSON. */
  openInference: {
    body: ({ input }, row) => ({
      inputs: [
        {
          name: input.name,
          shape: [1, ...input.shape],
          datatype: datatypes[input.dtype],
          data: Array.isArray(row) ? row.flat(Infinity) : [row],
        },
      ],
    }),
    numbers: (_model, { outputs: [output] }) => output.data,
  },
}

/** @typedef {keyof typeof protocols} ProtocolName */

/** @param {ProtocolName} name */
export const protocolOf = (name) => /** @type {Protocol} */ (protocols[name])
