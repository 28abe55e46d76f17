/** `@dotdo/fivetran`: the TypeScript client of fivetran.do. See docs/sdk.md. */

export { Fivetran, type FivetranOptions } from './client.ts'
export { Connector, type ResyncOptions, type SyncOptions } from './connector/connector.ts'
export type * from './connector/definition.ts'
export type { SyncedTable, SyncProgress, SyncResult } from './connector/run.ts'
export type { ConnectorStatus, Health } from './connector/status.ts'
export * from './errors.ts'
export type { Listener, SyncCompleteEvent, SyncErrorEvent } from './events.ts'
export type { Fetcher, RequestOptions, RetryOptions } from './http.ts'
export { Listing, type ListOptions, type Page } from './pages.ts'
export * from './types.ts'
