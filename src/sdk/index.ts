/** `@dotdo/fivetran`: the TypeScript client of fivetran.do. See docs/sdk.md. */

export { Fivetran, type FivetranOptions } from './client.js'
export { type FivetranConfig, defineConfig } from './config.js'
export { Connector, type ResyncOptions, type SyncOptions } from './connector/connector.js'
export type * from './connector/definition.js'
export type { ConnectorPlan, PlannedChange } from './connector/plan.js'
export type { SyncedTable, SyncProgress, SyncResult } from './connector/run.js'
export type { ConnectorStatus, Health } from './connector/status.js'
export * from './errors.js'
export type { Listener, SyncCompleteEvent, SyncErrorEvent } from './events.js'
export type { Call, Fetcher, RequestOptions, RetryOptions } from './http.js'
export type * from './identity.js'
export { Listing, type ListOptions, type Page } from './pages.js'
export * from './types.js'
export {
  SIGNATURE_HEADER,
  type SyncEndEvent,
  type WebhookEvent,
  Webhooks,
  WebhookSignatureError,
  verifyWebhook,
} from './webhooks.js'
