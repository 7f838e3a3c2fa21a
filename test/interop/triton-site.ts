import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'

/** Where nvidia-pytriton has the server, and the Python that its backend runs. */
export interface TritonSite {
  /** The folder of the environment's programs. */
  readonly programs: string
  readonly server: string
  /** The backend's program for this Python. */
  readonly stub: string
  /** Where Python finds packages. */
  readonly packages: string
  /** Where shared libraries are found: Python's own, and the server's. */
  readonly libraries: readonly string[]
}

const script = `
import sys, sysconfig
print(sysconfig.get_path('purelib'))
print('%d.%d' % sys.version_info[:2])
print(sysconfig.get_config_var('LIBDIR'))
print(sysconfig.get_config_var('INSTSONAME'))`

/** The Triton of an environment, or why it can't run here. */
export function tritonSite(programs: string): TritonSite | { readonly missing: string } {
  const said = execFileSync(join(programs, 'python'), ['-c', script], { encoding: 'utf8' })
  const [packages = '', version = '', folder = '', library = ''] = said.split('\n')
  const server = join(packages, 'pytriton', 'tritonserver')
  const stub = join(server, 'python_backend_stubs', version, 'triton_python_backend_stub')
  if (!existsSync(stub)) return { missing: `its backend knows no Python ${version}` }
  if (!library.includes('.so') || !existsSync(join(folder, library))) {
    return {
      missing: `its backend wants Python as a shared library, such as of Debian's libpython${version}`,
    }
  }
  return { programs, server, stub, packages, libraries: [folder, join(packages, 'nvidia_pytriton.libs')] }
}
