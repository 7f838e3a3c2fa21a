import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import type { DType } from '../../src/tensor/tensor.js'
import { IDENTITY_DTYPES } from '../onnx/models.js'
import { freePorts, pythonFolder, PythonProcess } from './python-process.js'
import type { Subject } from './subject.js'
import type { Transport } from './triton-client.js'
import type { TritonSite } from './triton-site.js'

/** Types by the names that model configurations give them. */
const configTypes = {
  bool: 'TYPE_BOOL',
  uint8: 'TYPE_UINT8',
  uint16: 'TYPE_UINT16',
  uint32: 'TYPE_UINT32',
  uint64: 'TYPE_UINT64',
  int8: 'TYPE_INT8',
  int16: 'TYPE_INT16',
  int32: 'TYPE_INT32',
  int64: 'TYPE_INT64',
  float16: 'TYPE_FP16',
  float32: 'TYPE_FP32',
  float64: 'TYPE_FP64',
  string: 'TYPE_STRING',
} as const satisfies Record<DType, string>

type Port = readonly [name: string, dtype: DType, width: number]

/** A real Triton Inference Server, whose models are of `python/triton_model.py`. */
export class TritonServer implements Subject {
  readonly administrator = {}

  private constructor(
    private readonly process: PythonProcess,
    private readonly folder: string,
    readonly addresses: Readonly<Record<Transport, string>>,
  ) {}

  /** Serves, ready: `identity_<dtype>` (x, y: [-1, 3]), `pair` (as `twoInputs` is), `slow` (1 s). */
  static async start(site: TritonSite): Promise<TritonServer> {
    const folder = mkdtempSync(join(tmpdir(), 'triton-'))
    const models = join(folder, 'models')
    for (const dtype of IDENTITY_DTYPES) {
      writeModel(models, `identity_${dtype}`, [['x', dtype, 3]], [['y', dtype, 3]])
    }
    writeModel(
      models,
      'pair',
      [
        ['a', 'float32', 2],
        ['b', 'int64', 1],
      ],
      [
        ['sum', 'float32', 1],
        ['next', 'int64', 1],
      ],
    )
    writeModel(models, 'slow', [['x', 'float32', 4]], [['y', 'float32', 4]])
    // The backend's program for this Python belongs beside the backend.
    const backends = join(folder, 'backends')
    mkdirSync(backends)
    cpSync(join(site.server, 'backends', 'python'), join(backends, 'python'), { recursive: true })
    cpSync(site.stub, join(backends, 'python', 'triton_python_backend_stub'))

    const [http = 0, grpc = 0] = await freePorts(2)
    const program = relative(site.programs, join(site.server, 'bin', 'tritonserver'))
    const process = await PythonProcess.startServer(
      site.programs,
      program,
      {
        args: [
          `--model-repository=${models}`,
          `--backend-directory=${backends}`,
          '--http-address=127.0.0.1',
          `--http-port=${http}`,
          '--grpc-address=127.0.0.1',
          `--grpc-port=${grpc}`,
          '--allow-metrics=false',
          // The backend forks, which hangs now and then beside threads that load other models.
          '--model-load-thread-count=1',
          '--model-control-mode=explicit',
          '--load-model=*',
        ],
        env: { LD_LIBRARY_PATH: site.libraries.join(':'), PYTHONPATH: site.packages },
      },
      `http://127.0.0.1:${http}/v2/health/ready`,
    )
    return new TritonServer(process, folder, { http: `127.0.0.1:${http}`, grpc: `127.0.0.1:${grpc}` })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.process[Symbol.asyncDispose]()
    rmSync(this.folder, { recursive: true, force: true })
  }
}

function writeModel(folder: string, name: string, inputs: readonly Port[], outputs: readonly Port[]): void {
  const ports = (kind: string, list: readonly Port[]) =>
    list.map(
      ([port, dtype, width]) =>
        `${kind} [ { name: "${port}" data_type: ${configTypes[dtype]} dims: [ -1, ${width} ] } ]`,
    )
  mkdirSync(join(folder, name, '1'), { recursive: true })
  cpSync(join(pythonFolder, 'triton_model.py'), join(folder, name, '1', 'model.py'))
  writeFileSync(
    join(folder, name, 'config.pbtxt'),
    [
      'backend: "python"',
      ...ports('input', inputs),
      ...ports('output', outputs),
      'instance_group [ { kind: KIND_CPU } ]',
    ].join('\n'),
  )
}
