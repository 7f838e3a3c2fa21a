/** prom-client's registry, named here so that only this folder imports prom-client. */
export type { Registry } from 'prom-client'
