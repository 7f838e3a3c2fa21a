/** The self-contained CommonJS source of a module, made by `inline-worker.ts` at build time. */
declare module '*?source' {
  const source: string
  export default source
}
