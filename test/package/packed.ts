import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, realpath, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const top = fileURLToPath(new URL('../..', import.meta.url))

export const modelsDir = path.join(top, 'examples/models')

/** Runs a program to its end; rejects with its output where it fails or takes too long. */
export async function run(file: string, args: readonly string[], cwd: string): Promise<string> {
  const { stdout } = await promisify(execFile)(file, args, { cwd, timeout: 25_000 })
  return stdout
}

/** Packs what `npm run build` made and unpacks it where a user has it: in `node_modules/mlserving` of a project. */
export class PackedProject implements AsyncDisposable {
  private constructor(
    /** A folder of its own for all that a test writes. */
    readonly dir: string,
    /** The paths in the tarball. */
    readonly files: readonly string[],
  ) {}

  static async create(): Promise<PackedProject> {
    if (!existsSync(path.join(top, 'dist/index.js')))
      throw new Error('Nothing to pack: run `npm run build` first.')
    const dir = await realpath(await mkdtemp(path.join(tmpdir(), 'mlserving-package-')))
    const home = path.join(dir, 'app/node_modules/mlserving')
    await mkdir(home, { recursive: true })
    const answer = await run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', dir], top)
    const [packed] = JSON.parse(answer) as [{ filename: string; files: { path: string }[] }]
    await run('tar', ['-xzf', path.join(dir, packed.filename), '-C', home, '--strip-components=1'], dir)
    const project = new PackedProject(
      dir,
      packed.files.map((file) => file.path),
    )
    const manifest = JSON.parse(await readFile(path.join(home, 'package.json'), 'utf8'))
    const needed = Object.keys({ ...manifest.dependencies, ...manifest.peerDependencies })
    await project.link('app', needed)
    return project
  }

  /** Gives `folder` the packages named, and no other, from those installed here. */
  async link(folder: string, packages: readonly string[]): Promise<void> {
    for (const name of packages) {
      const link = path.join(this.dir, folder, 'node_modules', name)
      await mkdir(path.dirname(link), { recursive: true })
      await symlink(path.join(top, 'node_modules', name), link, 'junction')
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.dir, { recursive: true, force: true })
  }
}
