import path from 'node:path'
import js from '@eslint/js'
import { defineConfig, globalIgnores } from 'eslint/config'
import tseslint from 'typescript-eslint'

/**
 * The direction of imports: a file may import its own layer and those below it (of a lower rank). The first
 * pattern that fits a file says its layer; what is neither in `src` nor in `adapters` is outside of this.
 */
const layers = [
  { rank: 8, name: 'an adapter', files: /^adapters\// },
  { rank: 7, name: 'the barrel', files: /^src\/index\.ts$/ },
  { rank: 6, name: 'src/http', files: /^src\/http\// },
  { rank: 6, name: 'src/testing', files: /^src\/testing\// },
  { rank: 6, name: 'src/remote', files: /^src\/remote\// },
  {
    rank: 5,
    name: 'the serving',
    files:
      /^src\/(serving|create-serving|serving-options|predict|prediction|predict-stage|predict-many|predict-stream|pipeline|default-serving)\.ts$/,
  },
  { rank: 3, name: 'src/client', files: /^src\/client\// },
  { rank: 2, name: 'src/v2', files: /^src\/v2\// },
  { rank: 1, name: 'src/tensor', files: /^src\/tensor\// },
  { rank: 0, name: 'src/errors', files: /^src\/errors\.ts$/ },
  { rank: 4, name: 'an inner part', files: /^src\// },
]

/** Who alone may name a package. A package that stands here is forbidden everywhere else in src and adapters. */
const packages = new Map([
  ['onnxruntime-node', /^src\/execution\/onnx\.ts$/],
  ['onnxruntime-common', /^$/],
  ['prom-client', /^src\/metrics\//],
  ['express', /^adapters\/express\//],
  ['fastify', /^adapters\/fastify\//],
  ['fastify-plugin', /^adapters\/fastify\//],
  ['cockatiel', /^src\/remote\//],
  ['@grpc/grpc-js', /^(adapters\/grpc|src\/remote)\//],
  ['mlserving', /^$/],
])

/**
 * The source file that an import of `file` means, relative to the top; undefined for a package.
 * @param {string} file
 * @param {string} specifier
 */
function imported(file, specifier) {
  if (!specifier.startsWith('.')) return undefined
  const target = path.posix.join(path.posix.dirname(file), specifier.replace(/\?.*$/, ''))
  return target.replace(/\.js$/, '.ts')
}

/**
 * What is wrong with an import, if anything.
 * @param {string} file
 * @param {string} specifier
 */
function objection(file, specifier) {
  const target = imported(file, specifier)
  if (target === undefined) {
    const name = specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/')
    const allowed = packages.get(name)
    return allowed === undefined || allowed.test(file) ? undefined : `'${name}' must not be imported here.`
  }
  const from = layers.find((layer) => layer.files.test(file))
  const to = layers.find((layer) => layer.files.test(target))
  if (from === undefined || to === undefined)
    return 'The product imports nothing outside of src and adapters.'
  if (to.rank > from.rank) return `${from.name} must not import ${to.name}: imports point the other way.`
  if (from.name !== 'an adapter') return undefined
  if (/^src\/(?!http|v2|tensor)[^/]+\//.test(target))
    return 'An adapter reaches the inner parts through src or src/http.'
  const own = file.split('/', 2).join('/')
  if (to.name !== 'an adapter' || own === 'adapters/cli' || target.startsWith(`${own}/`)) return undefined
  return 'An adapter must not import another adapter.'
}

const imports =
  ':matches(ImportDeclaration, ExportNamedDeclaration, ExportAllDeclaration, ImportExpression, TSImportType)'
const requires =
  ":matches(CallExpression[callee.name='require'], CallExpression[callee.object.name='require'])"

/**
 * Sees every form of an import: static, export from, type, `import()`, `import('x').T`, require, require.resolve.
 * @type {import('eslint').Rule.RuleModule}
 */
const zones = {
  meta: { type: 'problem', schema: [] },
  create(context) {
    const file = path.relative(context.cwd, context.filename).split(path.sep).join('/')
    return {
      /** @param {import('eslint').Rule.Node} source */
      [`${imports} > Literal.source, ${requires} > Literal.arguments`](source) {
        if (source.type !== 'Literal') return
        const message = objection(file, String(source.value))
        if (message !== undefined) context.report({ node: source, message })
      },
    }
  },
}

export default defineConfig(
  globalIgnores(['dist/', 'coverage/', '**/.venv/']),
  js.configs.recommended,
  tseslint.configs.strictTypeChecked,
  {
    languageOptions: {
      parserOptions: { projectService: true },
    },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      eqeqeq: 'error',
      // TypeScript sees it, in JavaScript too.
      'no-undef': 'off',
      '@typescript-eslint/consistent-type-imports': [
        'error',
        { fixStyle: 'inline-type-imports', disallowTypeAnnotations: false },
      ],
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { considerDefaultExhaustiveForUnions: true },
      ],
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      // `return next(error)` says that nothing follows.
      '@typescript-eslint/no-confusing-void-expression': 'off',
      // An interface may ask for a promise where an implementation has nothing to wait for.
      '@typescript-eslint/require-await': 'off',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
    },
  },
  {
    files: ['src/**', 'adapters/**'],
    plugins: { mlserving: { rules: { zones } } },
    rules: { 'mlserving/zones': 'error' },
  },
  {
    // Answers over HTTP are JSON, which is `any`.
    files: ['test/**', 'bench/**', 'examples/**'],
    rules: {
      '@typescript-eslint/no-unsafe-argument': 'off',
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/no-unsafe-call': 'off',
      '@typescript-eslint/no-unsafe-member-access': 'off',
      '@typescript-eslint/no-unsafe-return': 'off',
    },
  },
  {
    files: ['examples/**'],
    rules: {
      // Node's own test runner waits for its tests itself.
      '@typescript-eslint/no-floating-promises': [
        'error',
        { allowForKnownSafeCalls: [{ from: 'package', name: 'test', package: 'node:test' }] },
      ],
    },
  },
  {
    // The tools' own configuration, in JavaScript: without types.
    files: ['**/*.js'],
    ignores: ['examples/**'],
    extends: [tseslint.configs.disableTypeChecked],
  },
)
