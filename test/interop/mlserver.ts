import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { DType } from '../../src/tensor/tensor.js'
import { datatypes } from '../../src/v2/datatype.js'
import { IDENTITY_DTYPES } from '../onnx/models.js'
import { freePorts, pythonFolder, PythonProcess } from './python-process.js'
import type { Subject } from './subject.js'
import type { Transport } from './triton-client.js'

type Port = readonly [name: string, dtype: DType, width: number]

/** A real MLServer, whose models are of `python/mlserver_models.py`. */
export class MLServer implements Subject {
  readonly administrator = {}

  private constructor(
    readonly process: PythonProcess,
    private readonly folder: string,
    readonly addresses: Readonly<Record<Transport, string>>,
  ) {}

  /**
   * Serves, ready: `identity_<dtype>` (x, y: [-1, 3]; strings [-1, 1], which are what its codec gives), `pair` (as `twoInputs` is), `slow` (1 s), `failing` (503).
   * @param programs of the environment that has MLServer
   */
  static async start(programs: string): Promise<MLServer> {
    const folder = mkdtempSync(join(tmpdir(), 'mlserver-'))
    for (const dtype of IDENTITY_DTYPES) {
      const width = dtype === 'string' ? 1 : 3
      writeModel(folder, `identity_${dtype}`, 'Identity', [['x', dtype, width]], [['y', dtype, width]])
    }
    const a: Port = ['a', 'float32', 2]
    const b: Port = ['b', 'int64', 1]
    const sum: Port = ['sum', 'float32', 1]
    const next: Port = ['next', 'int64', 1]
    writeModel(folder, 'pair', 'Pair', [a, b], [sum, next])
    for (const [name, implementation] of [
      ['slow', 'Slow'],
      ['failing', 'Failing'],
    ] as const) {
      writeModel(folder, name, implementation, [['x', 'float32', 4]], [['y', 'float32', 4]])
    }
    const [http = 0, grpc = 0, metrics = 0] = await freePorts(3)
    const settings = {
      host: '127.0.0.1',
      http_port: http,
      grpc_port: grpc,
      metrics_port: metrics,
      debug: false,
    }
    writeFileSync(join(folder, 'settings.json'), JSON.stringify(settings))

    const options = { args: ['start', '.'], cwd: folder, env: { PYTHONPATH: pythonFolder } }
    const ready = `http://127.0.0.1:${http}/v2/health/ready`
    const process = await PythonProcess.startServer(programs, 'mlserver', options, ready)
    return new MLServer(process, folder, { http: `127.0.0.1:${http}`, grpc: `127.0.0.1:${grpc}` })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.process[Symbol.asyncDispose]()
    rmSync(this.folder, { recursive: true, force: true })
  }
}

function writeModel(
  folder: string,
  name: string,
  implementation: string,
  inputs: readonly Port[],
  outputs: readonly Port[],
): void {
  const metadata = (ports: readonly Port[]) =>
    ports.map(([port, dtype, width]) => ({ name: port, datatype: datatypes[dtype], shape: [-1, width] }))
  mkdirSync(join(folder, name))
  writeFileSync(
    join(folder, name, 'model-settings.json'),
    JSON.stringify({
      name,
      implementation: `mlserver_models.${implementation}`,
      parameters: { version: '1' },
      inputs: metadata(inputs),
      outputs: metadata(outputs),
    }),
  )
}
