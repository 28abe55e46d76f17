/**
 * The API's objects as they travel: the names and values of the JSON, times as ISO-8601 text in UTC.
 *
 * Written by hand so that they read well in an editor; `tests/sdk/contract.test.mjs` compares every one of them with the
 * OpenAPI document the service serves.
 */

/** ISO-8601 in UTC with microseconds, for example `2026-12-01T15:43:29.013729Z`. */
export type Timestamp = string

/** What secrets look like in answers. Sent back, it means "unchanged". */
export const MASKED = '******'

export interface AccountInfo {
  account_id: string
  account_name: string
  /** Set for the owner's key. */
  user_id?: string
  /** Set for every other key. */
  system_key_id?: string
}

export interface Group {
  id: string
  name: string
  created_at: Timestamp
}

export interface SetupTest {
  title: string
  status: 'PASSED' | 'SKIPPED' | 'WARNING' | 'FAILED'
  message: string
  /** `certificate`, where the server's is not trusted: what `connections.certificates.approve` takes, once somebody compared its hash. */
  details?: Record<string, unknown>
}

export type Config = Record<string, unknown>

export interface Destination {
  /** Equal to the id of its group. */
  id: string
  group_id: string
  service: string
  region: string
  time_zone_offset: string
  daylight_saving_time_enabled: boolean
  networking_method: string
  private_link_id: string | null
  proxy_agent_id: string | null
  hybrid_deployment_agent_id: string | null
  external_secrets_manager_id: string | null
  setup_status: 'INCOMPLETE' | 'CONNECTED' | 'BROKEN'
  /** Secrets masked. Left out of listings. */
  config?: Config
  /** Left out of listings. */
  setup_tests?: SetupTest[]
}

export interface NewDestination {
  group_id: string
  service: string
  region?: string
  time_zone_offset?: string
  daylight_saving_time_enabled?: boolean
  run_setup_tests?: boolean
  config: Config
}

export interface DestinationPatch {
  region?: string
  time_zone_offset?: string
  daylight_saving_time_enabled?: boolean
  run_setup_tests?: boolean
  config?: Config
}

/** Something a person must do (task) or should know (warning). */
export interface Task {
  code: string
  message: string
}

export type SetupState = 'incomplete' | 'connected' | 'broken'
export type SyncState = 'scheduled' | 'syncing' | 'paused' | 'rescheduled'

export interface ConnectionStatus {
  setup_state: SetupState
  sync_state: SyncState
  update_state: 'on_schedule' | 'delayed'
  is_historical_sync: boolean
  rescheduled_for: Timestamp | null
  tasks: Task[]
  warnings: Task[]
}

export type SyncFrequency = 1 | 5 | 15 | 30 | 60 | 120 | 180 | 360 | 480 | 720 | 1440
export type SyncMode = 'full' | 'incremental'

export type Weekday = 'MONDAY' | 'TUESDAY' | 'WEDNESDAY' | 'THURSDAY' | 'FRIDAY' | 'SATURDAY' | 'SUNDAY'

/** When a connection syncs. */
export interface ConnectionSchedule {
  schedule_type: 'INTERVAL' | 'TIME_OF_DAY' | 'MANUAL'
  /** Minutes, for INTERVAL. */
  interval?: number
  /** `HH:00` in the destination's time zone, for TIME_OF_DAY. */
  time_of_day?: string
  /** Only all seven. */
  days_of_week?: Weekday[]
  /** Not supported. */
  cron?: string
}

export interface Connection {
  id: string
  group_id: string
  service: string
  service_version: number
  /** Name of the connection: the schema at the destination, or the prefix of the schemas for databases. */
  schema: string
  paused: boolean
  pause_after_trial: boolean
  status: ConnectionStatus
  /** Minutes. */
  sync_frequency: number
  /** `HH:00` in the destination's time zone. */
  daily_sync_time: string | null
  schedule_type: 'auto' | 'manual'
  /** The three fields above as one object. */
  schedule: ConnectionSchedule | null
  /** Ours: the schedule in words. */
  schedule_phrase: string
  /** Ours. */
  sync_mode: SyncMode
  connected_by: string | null
  created_at: Timestamp
  /** End of the last sync that succeeded. */
  succeeded_at: Timestamp | null
  /** End of the last sync that failed. */
  failed_at: Timestamp | null
  /** Ours: when the clock starts the next sync; null when it will not. */
  next_sync_at: Timestamp | null
  /** Secrets masked. */
  config: Config
  /** Left out of listings. */
  setup_tests?: SetupTest[]
  data_delay_sensitivity: string
  data_delay_threshold: number | null
  networking_method: string
  destination_schema_names: string
  proxy_agent_id: string | null
  private_link_id: string | null
  hybrid_deployment_agent_id: string | null
  external_secrets_manager_id: string | null
  source_sync_details: Record<string, unknown>
}

export interface NewConnection {
  group_id: string
  service: string
  config: Config
  paused?: boolean
  sync_frequency?: SyncFrequency
  daily_sync_time?: string
  schedule_type?: 'auto' | 'manual'
  /** Instead of the three fields above: an object, or (ours) words. */
  schedule?: string | ConnectionSchedule
  /** Ours. Default `incremental`. */
  sync_mode?: SyncMode
  /** What happens to new schemas, tables and columns. Default `ALLOW_ALL`. */
  schema_change_handling?: SchemaChangeHandling
  /** Default true: the source is opened and checked before the answer. */
  run_setup_tests?: boolean
  /** Approves the certificate the source shows now, if no public authority vouches for it. */
  trust_certificates?: boolean
}

export interface ConnectionPatch {
  config?: Config
  paused?: boolean
  sync_frequency?: SyncFrequency
  daily_sync_time?: string
  schedule_type?: 'auto' | 'manual'
  schedule?: string | ConnectionSchedule
  sync_mode?: SyncMode
  schema_change_handling?: SchemaChangeHandling
  /** True reads all history again. */
  is_historical_sync?: boolean
  run_setup_tests?: boolean
  /** As at creation, whenever the setup tests run. */
  trust_certificates?: boolean
}

/** Tables by schema, as at the source. */
export type Scope = Record<string, string[]>

export interface ConnectionState {
  state: Record<string, unknown>
}

export type SchemaChangeHandling = 'ALLOW_ALL' | 'ALLOW_COLUMNS' | 'BLOCK_ALL'
export type TableSyncMode = 'SOFT_DELETE' | 'HISTORY' | 'LIVE'

export interface PatchSettings {
  allowed: boolean
  reason_code?: 'SYSTEM_COLUMN' | 'DELETED'
  reason?: string
}

export interface ColumnConfig {
  name_in_destination: string
  enabled: boolean
  hashed: boolean
  is_primary_key: boolean
  enabled_patch_settings: PatchSettings
}

export interface TableConfig {
  name_in_destination: string
  enabled: boolean
  sync_mode: TableSyncMode
  /** Ours: the column whose growth marks changes, where one was named. */
  cursor_column?: string
  supports_columns_config: boolean
  supports_history_mode: boolean
  enabled_patch_settings: PatchSettings
  /** Only the columns somebody has set; `connections.schemas.columns` lists all. */
  columns: Record<string, ColumnConfig>
}

/** Schemas, tables and columns by their names at the source. */
export interface SchemaConfig {
  schema_change_handling: SchemaChangeHandling
  enable_new_by_default: boolean
  schemas: Record<string, { name_in_destination: string; enabled: boolean; tables: Record<string, TableConfig> }>
}

export interface ColumnPatch {
  enabled?: boolean
  hashed?: boolean
  is_primary_key?: boolean
}

export interface TablePatch {
  enabled?: boolean
  /** One the destination cannot keep is refused. */
  sync_mode?: TableSyncMode
  /** Ours: the column whose growth marks changes. */
  cursor_column?: string
  columns?: Record<string, ColumnPatch>
}

export interface SchemaPatch {
  enabled?: boolean
  tables?: Record<string, TablePatch>
}

export interface SchemaConfigPatch {
  schema_change_handling?: SchemaChangeHandling
  schemas?: Record<string, SchemaPatch>
}

export type RunState = 'RUNNING' | 'SUCCESSFUL' | 'FAILURE' | 'FAILURE_WITH_TASK' | 'RESCHEDULED' | 'CANCELED'
export type RunPhase = 'planning' | 'reading' | 'publishing' | 'closing' | 'done'
export type LoadMode = 'full' | 'incremental'

/** Class of a failure. Which ones a person must act on is said by the connection's tasks. */
export type ErrorKind =
  | 'invalid_input'
  | 'not_found'
  | 'conflict'
  | 'source_auth'
  | 'source_permission'
  | 'source_config'
  | 'source_unavailable'
  | 'source_throttled'
  | 'source_changed'
  | 'data'
  | 'destination_config'
  | 'destination_unavailable'
  | 'destination_limit'
  | 'fenced'
  | 'cancelled'
  | 'mismatch'
  | 'internal'

/** Why something failed. */
export interface ErrorReport {
  kind: ErrorKind
  message: string
  /** The field at fault, for example `config.password`. */
  field?: string
  remedy?: string
  /** What the other side asked for. */
  retry_after_ms?: number
  /** What caused it, the nearest cause first. */
  causes?: string[]
}

/**
 * Rows of one table in one run. A run that succeeded has `read === written + filtered`, and `source_rows === read` where
 * the source counts.
 */
export interface Counts {
  read: number
  filtered: number
  written: number
  deleted: number
  bytes: number
  /** By the source's own count in the snapshot that was read; `null` where it does not count. */
  source_rows: number | null
}

/** What to compare. Names are the source's. */
export interface ReconcileRequest {
  schema: string
  table: string
  /** Most ranges to compare in this call, 1 to 100; 20 where absent. */
  ranges?: number
  /** Rows of the source in a range, 1 to 100,000; 10,000 where absent. */
  rows_per_range?: number
  /** `next_cursor` of the previous call. */
  cursor?: string
}

/** Source and destination by ranges of the key. */
export interface Reconciliation {
  /** Whether all ranges of this call are equal. */
  equal: boolean
  /** How ranges are cut: by the values of the key, or by its hash. */
  method: 'key' | 'hash'
  /** The key columns at the destination. */
  key: string[]
  items: ReconciledRange[]
  /** Absent when the whole table was compared. */
  next_cursor?: string
  /** What a difference may mean besides a fault. */
  note: string
}

/** The sync that was asked for. */
export interface StartedSync {
  /** The new run, or the one that runs already. */
  run_id: string | null
}

/** A key of the vault, and what is sealed with it. */
export interface VaultKey {
  /** Empty for what is not in the vault's format. */
  id: string
  /** Whether `FIVETRAN_VAULT_KEYS` has it. */
  configured: boolean
  /** Whether it is the one that seals. */
  seals: boolean
  /** How many values are sealed with it. */
  sealed: number
  /** The same, by what they are. */
  held: Record<string, number>
  /** Whether it is configured and of no use any more. */
  may_be_removed: boolean
}

/** What a call that seals anew did. */
export interface Resealed {
  resealed: number
  /** Values that do not open: their key is not configured, or they were altered. They are left as they are. */
  unopened: { place: string; reason: string }[]
  /** Absent when everything was looked at. */
  next_cursor?: string
}

/** Rows whose key is greater than `from_key` and not greater than `to_key`; `null` is no bound. */
export interface ReconciledRange {
  from_key: string[] | null
  to_key: string[] | null
  source_rows: number
  destination_rows: number
  /** Sum of the rows' hashes, 32 hexadecimal digits. */
  source_hash: string
  destination_hash: string
  equal: boolean
  /** What is stored at the destination and cannot be read. */
  problems?: string[]
}

/** One table of a run. */
export interface ProgressTable {
  schema: string
  table: string
  state: 'planned' | 'reading' | 'published' | 'failed'
  mode: LoadMode
  chunks_planned: number
  chunks_done: number
  counts: Counts
  /** By the source's own estimate. */
  estimated_rows: number | null
  /** Rows at the destination that are not marked deleted, after the table was published. */
  live_rows: number | null
  error: ErrorReport | null
  /** Attempts at its chunks so far; a chunk that is read without trouble takes one. */
  attempts: number
  /** Since its chunks were planned; null before. */
  rows_per_second: number | null
  /** Seconds until everything is read; null where nobody can tell. */
  eta_seconds: number | null
}

/** What moving data cost: microseconds by what they were spent on, and the peak of memory. */
export interface Effort {
  /** Waiting for bytes of the source. */
  source_wait: number
  /** Turning the source's bytes into Arrow. */
  decode: number
  /** Shaping batches and encoding them for the destination. */
  encode: number
  /** Waiting for the destination to take bytes. */
  destination_wait: number
  /** Largest WASM memory seen, in bytes. */
  peak_memory: number
  /** Attempts that failed and were made again. */
  retries: number
}

/** How far a sync is. */
export interface RunProgress {
  id: string
  state: RunState
  phase: RunPhase
  started_at: Timestamp
  ended_at: Timestamp | null
  tables: ProgressTable[]
  /** Not kept with the history. */
  effort?: Effort
  error: ErrorReport | null
}

/** One sync of a connection, as kept. */
export interface Run extends Omit<RunProgress, 'tables' | 'effort'> {
  connection_id: string
  /** Within the connection, from 1. */
  number: number
  trigger: 'schedule' | 'manual' | 'resync'
  /** Sum over the tables. */
  counts: Counts
  /** Attempts that failed and were made again; known at the end. */
  retries: number
  /** Left out of listings. */
  tables?: ProgressTable[]
}

/** Something that happened to a connection, in Fivetran's vocabulary (`sync_start`, `records_modified` …). */
export interface LogEvent {
  id: string
  run_id: string | null
  level: 'INFO' | 'WARNING' | 'SEVERE'
  event: string
  data: unknown
  created_at: Timestamp
}

/** One version of a table's shape at the source, with what changed. */
export interface SchemaVersion {
  schema: string
  table: string
  version: number
  detected_at: Timestamp
  /** The sync that found it; null for a reload. */
  run_id: string | null
  /** Null when the table was gone. */
  stream: unknown
  diff: unknown
}

/** A source the service knows. */
export interface ConnectorType {
  /** What `service` is to be. */
  id: string
  name: string
  type: string
  description: string
  connector_class: string
  service_status: string
  supported_features: { id: string }[]
  /** JSON schema of `config`; only when one type is asked for. */
  config?: Record<string, unknown>
}

/** A schema or table of a connection. */
export interface MetadataObject {
  /** The same at every look. */
  id: string
  /** Of a table: the id of its schema. */
  parent_id?: string
  name_in_source: string
  name_in_destination: string
}

export interface MetadataColumn {
  id: string
  /** The id of its table. */
  parent_id: string
  name_in_source: string
  name_in_destination: string
  type_in_source: string
  /** Fivetran's name of the type; each destination has its own form of it. */
  type_in_destination: string
  is_primary_key: boolean
  is_foreign_key: boolean
}

export interface Webhook {
  id: string
  type: 'account' | 'group'
  /** Of a group's webhook. */
  group_id?: string
  url: string
  events: string[]
  active: boolean
  /** Masked, where there is one. */
  secret?: string
  created_at: Timestamp
  created_by: string
}

export interface NewWebhook {
  url: string
  /** For example `sync_end`. */
  events: string[]
  active?: boolean
  /** Signs what is sent. Without one nobody can tell where a message comes from. */
  secret?: string
}

export interface WebhookPatch {
  url?: string
  events?: string[]
  /** True also revives one that was switched off because it could not be reached. */
  active?: boolean
  /** An empty one removes it. */
  secret?: string
}

export interface WebhookTest {
  succeed: boolean
  /** HTTP status of the receiver's answer; 0 where none came. */
  status: number
  message: string
}

export interface WebhookDelivery {
  /** The same at every attempt; sent as `X-Fivetran-Delivery-Id`. */
  id: string
  event: string
  occurred_at: Timestamp
  connection_id: string
  sync_id: string | null
  state: 'pending' | 'delivered' | 'failed'
  attempts: number
  last_attempt_at: Timestamp | null
  next_attempt_at: Timestamp | null
  response_status: number | null
  error: string | null
}

/** Where the log is sent to. */
export interface LogService {
  id: string
  /** `datadog_log`, `new_relic_log`, `splunkLog`, `grafana_loki` or `azure_monitor_log`. */
  service: string
  enabled: boolean
}

export interface LogServiceDetails extends LogService {
  /** Secrets masked. */
  config: Config
}

export interface NewLogService {
  /** Whose events it gets. Without it, the account's. */
  group_id?: string
  service: string
  enabled?: boolean
  config: Config
}

export interface LogServicePatch {
  enabled?: boolean
  config?: Config
}

/** What became of a test event. */
export interface LogServiceTest {
  setup_tests: SetupTest[]
}

export type TransformationType = 'DBT_CORE' | 'QUICKSTART'

/** Kept, and not run yet. */
export interface Transformation {
  id: string
  type: TransformationType
  status: string
  paused: boolean
  schedule: TransformationSchedule
  transformation_config: Record<string, unknown>
  output_model_names: string[]
  created_at: Timestamp
  created_by_id: string
  last_started_at: Timestamp | null
  last_ended_at: Timestamp | null
}

export interface TransformationSchedule {
  schedule_type: 'INTEGRATED' | 'INTERVAL' | 'TIME_OF_DAY' | 'CRON'
  cron?: string[]
  /** Minutes. */
  interval?: number
  days_of_week?: Weekday[]
  /** `HH:00` or `HH:30`. */
  time_of_day?: string
  connection_ids?: string[]
  transformation_ids?: string[]
  smart_syncing?: boolean
}

export interface TransformationFields {
  type?: TransformationType
  paused?: boolean
  schedule?: TransformationSchedule
  transformation_config?: {
    project_id?: string
    name?: string
    steps?: { name: string; command: string }[]
    package_name?: string
    connection_ids?: string[]
    excluded_models?: string[]
    configurable_variables?: Record<string, unknown>
  }
}

export interface TransformationProject {
  id: string
  type: TransformationType
  status: string
  errors: string[]
  group_id: string
  created_at: Timestamp
  created_by_id: string
  setup_tests: SetupTest[]
  project_config: Record<string, unknown>
}

export interface TransformationProjectFields {
  group_id?: string
  type?: TransformationType
  project_config?: {
    dbt_version?: string
    default_schema?: string
    git_remote_url?: string
    folder_path?: string
    git_branch?: string
    threads?: number
    target_name?: string
    /** `DBT_NAME=value` each. */
    environment_vars?: string[]
  }
}

export interface ColumnsToDrop {
  schemas: Record<string, { tables: Record<string, { columns: string[] }> }>
}

/** A certificate of a source that somebody approved. */
export interface Certificate {
  id: string
  /** Whom it is for. */
  name: string
  hash: string
  type: string
  sha1: string
  sha256: string
  /** DER in base64. */
  public_key: string
  validated_date: Timestamp
  validated_by: string
}

export interface NewCertificate {
  /** SHA-256 or SHA-1, in hexadecimal or base64. */
  hash: string
  /** PEM, or DER in base64. */
  encoded_cert: string
}
