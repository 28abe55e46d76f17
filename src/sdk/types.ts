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
  account_name?: string | null
  user_id?: string | null
  system_key_id?: string | null
}

export interface Group {
  id: string
  name: string
  created_at: Timestamp
}

export interface SetupTest {
  title: string
  status: 'PASSED' | 'SKIPPED' | 'WARNING' | 'FAILED' | 'JOB_FAILED'
  message?: string | null
  details?: unknown
}

export type Config = Record<string, unknown>

export interface Destination {
  /** Equal to the id of its group. */
  id: string
  group_id: string
  service: string
  region: string
  time_zone_offset: string
  daylight_saving_time_enabled?: boolean
  setup_status: 'INCOMPLETE' | 'CONNECTED' | 'BROKEN' | 'incomplete' | 'connected' | 'broken'
  /** Secrets masked. */
  config?: Config
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
  details?: unknown
}

export type SetupState = 'incomplete' | 'connected' | 'broken'
export type SyncState = 'scheduled' | 'syncing' | 'paused' | 'rescheduled'

export interface ConnectionStatus {
  setup_state: SetupState
  sync_state: SyncState
  update_state: 'on_schedule' | 'delayed'
  schema_status?: string | null
  is_historical_sync: boolean
  rescheduled_for?: Timestamp | null
  tasks: Task[]
  warnings: Task[]
}

export type SyncFrequency = 1 | 5 | 15 | 30 | 60 | 120 | 180 | 360 | 480 | 720 | 1440
export type SyncMode = 'full' | 'incremental'

export interface Connection {
  id: string
  group_id: string
  service: string
  service_version?: number
  /** Name of the connection: the schema at the destination, or its prefix for databases. */
  schema: string
  paused: boolean
  status: ConnectionStatus
  sync_frequency: SyncFrequency
  daily_sync_time?: string | null
  schedule_type: 'auto' | 'manual'
  sync_mode: SyncMode
  /** Ours: the schedule in words. */
  schedule?: string
  /** Ours: when the clock starts the next sync. */
  next_sync_at?: Timestamp | null
  connected_by?: string | null
  created_at: Timestamp
  succeeded_at: Timestamp | null
  failed_at: Timestamp | null
  /** Secrets masked. */
  config: Config
  setup_tests?: SetupTest[]
}

export interface NewConnection {
  group_id: string
  service: string
  config: Config
  paused?: boolean
  sync_frequency?: SyncFrequency
  daily_sync_time?: string
  schedule_type?: 'auto' | 'manual'
  /** Ours: the schedule in words, instead of the three fields above. */
  schedule?: string
  /** Ours. Default `incremental`. */
  sync_mode?: SyncMode
  /** Default true: the source is opened and checked before the answer. */
  run_setup_tests?: boolean
}

export interface ConnectionPatch {
  config?: Config
  paused?: boolean
  sync_frequency?: SyncFrequency
  daily_sync_time?: string
  schedule_type?: 'auto' | 'manual'
  schedule?: string
  sync_mode?: SyncMode
  is_historical_sync?: boolean
  run_setup_tests?: boolean
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
  reason_code?: string | null
  reason?: string | null
}

export interface ColumnConfig {
  name_in_destination: string
  enabled: boolean
  hashed: boolean
  is_primary_key?: boolean
  enabled_patch_settings: PatchSettings
}

export interface TableConfig {
  name_in_destination: string
  enabled: boolean
  sync_mode?: TableSyncMode
  supports_columns_config: boolean
  supports_history_mode: boolean
  enabled_patch_settings: PatchSettings
  /** Only the columns somebody has set; `connections.schemas.columns` lists all. */
  columns?: Record<string, ColumnConfig>
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
  sync_mode?: TableSyncMode
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

/** Why something failed. */
export interface ErrorReport {
  kind: string
  message: string
  field?: string | null
  remedy?: string | null
}

/** Rows of one table in one run. A run that succeeded has `read === written + filtered`. */
export interface Counts {
  read: number
  filtered: number
  written: number
  deleted: number
  bytes: number
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
  estimated_rows?: number | null
  /** Rows at the destination that are not marked deleted, after the table was published. */
  live_rows?: number | null
  error?: ErrorReport | null
}

/** One sync of a connection. */
export interface Run {
  id: string
  connection_id: string
  number: number
  trigger: 'schedule' | 'manual' | 'resync'
  state: RunState
  phase: RunPhase
  started_at: Timestamp
  ended_at?: Timestamp | null
  /** Sum over the tables. */
  counts: Counts
  /** Given for a single run; listings leave it out. */
  tables?: ProgressTable[]
  error?: ErrorReport | null
}

/** Something that happened to a connection, in Fivetran's vocabulary (`sync_start`, `records_modified` …). */
export interface LogEvent {
  id: string
  connection_id: string
  run_id?: string | null
  level: 'INFO' | 'WARNING' | 'SEVERE'
  event: string
  data: Record<string, unknown>
  created_at: Timestamp
}

/** One version of a table's shape at the source, with what changed. */
export interface SchemaVersion {
  schema: string
  table: string
  version: number
  detected_at: Timestamp
  run_id?: string | null
  stream: Record<string, unknown>
  diff: Record<string, unknown>
}

/** A source the service knows. */
export interface ConnectorType {
  id: string
  name: string
  type: string
  description?: string
  service_status?: string
  /** JSON schema of `config`; only when one type is asked for. */
  config?: Record<string, unknown>
}
