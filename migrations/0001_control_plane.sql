-- Control plane of fivetran.do: definitions, and projections of what the Durable Objects know.
-- All times are INTEGER microseconds since the Unix epoch, UTC; all *_sealed columns are AES-256-GCM (invariant I6).

CREATE TABLE accounts (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  created_at INTEGER NOT NULL
);

CREATE TABLE api_keys (
  id TEXT PRIMARY KEY,
  account_id TEXT NOT NULL REFERENCES accounts(id),
  api_key TEXT NOT NULL UNIQUE,
  secret_sha256 TEXT NOT NULL,
  name TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  revoked_at INTEGER
);

-- A group is a destination's home: group id == destination id, as in Fivetran.
CREATE TABLE groups (
  id TEXT PRIMARY KEY,
  account_id TEXT NOT NULL REFERENCES accounts(id),
  name TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  UNIQUE (account_id, name)
);

CREATE TABLE destinations (
  id TEXT PRIMARY KEY REFERENCES groups(id),
  service TEXT NOT NULL,
  config_public TEXT NOT NULL,          -- JSON, secrets replaced by ******
  config_sealed TEXT NOT NULL,          -- JSON with secrets
  region TEXT NOT NULL,
  time_zone_offset TEXT NOT NULL,
  daylight_saving_time_enabled INTEGER NOT NULL DEFAULT 0,
  setup_status TEXT NOT NULL,
  setup_tests TEXT NOT NULL DEFAULT '[]',
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
);

CREATE TABLE connections (
  id TEXT PRIMARY KEY,
  group_id TEXT NOT NULL REFERENCES groups(id),
  service TEXT NOT NULL,
  schema_name TEXT NOT NULL,            -- connection name == destination schema or its prefix
  config_public TEXT NOT NULL,
  config_sealed TEXT NOT NULL,
  sync_mode TEXT NOT NULL DEFAULT 'incremental',
  paused INTEGER NOT NULL DEFAULT 0,
  sync_frequency INTEGER NOT NULL DEFAULT 360,
  daily_sync_time TEXT,
  schedule_type TEXT NOT NULL DEFAULT 'auto',
  schema_change_handling TEXT NOT NULL DEFAULT 'ALLOW_ALL',
  extra TEXT NOT NULL DEFAULT '{}',     -- JSON of the API fields the engine does not read
  setup_state TEXT NOT NULL,
  setup_tests TEXT NOT NULL DEFAULT '[]',
  created_by TEXT,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  -- projections, written by the engine
  sync_state TEXT NOT NULL DEFAULT 'scheduled',
  is_historical_sync INTEGER NOT NULL DEFAULT 1,
  succeeded_at INTEGER,
  failed_at INTEGER,
  rescheduled_for INTEGER,
  tasks TEXT NOT NULL DEFAULT '[]',
  warnings TEXT NOT NULL DEFAULT '[]',
  next_due_at INTEGER,                  -- NULL: never by the clock (manual, paused, broken)
  UNIQUE (group_id, schema_name)
);
CREATE INDEX connections_due ON connections (next_due_at) WHERE next_due_at IS NOT NULL;
CREATE INDEX connections_listed ON connections (created_at, id);
CREATE INDEX connections_of_group ON connections (group_id, created_at, id);

-- What the user set by hand; absent rows follow schema_change_handling.
CREATE TABLE stream_settings (
  connection_id TEXT NOT NULL REFERENCES connections(id) ON DELETE CASCADE,
  schema_name TEXT NOT NULL,
  table_name TEXT NOT NULL DEFAULT '',  -- '' is the schema itself
  settings TEXT NOT NULL,               -- JSON: control::settings::{SchemaSettings, StreamSettings}
  PRIMARY KEY (connection_id, schema_name, table_name)
) WITHOUT ROWID;

-- Every version of every stream's shape, with what changed.
CREATE TABLE stream_versions (
  connection_id TEXT NOT NULL REFERENCES connections(id) ON DELETE CASCADE,
  schema_name TEXT NOT NULL,
  table_name TEXT NOT NULL,
  version INTEGER NOT NULL,
  stream TEXT,                          -- JSON: core::catalog::Stream; NULL: gone from the source at this version
  diff TEXT NOT NULL,                   -- JSON: core::schema_diff::StreamDiff
  detected_at INTEGER NOT NULL,
  run_id TEXT,
  PRIMARY KEY (connection_id, schema_name, table_name, version)
) WITHOUT ROWID;

CREATE TABLE sync_runs (
  id TEXT PRIMARY KEY,
  connection_id TEXT NOT NULL REFERENCES connections(id) ON DELETE CASCADE,
  number INTEGER NOT NULL,              -- core::run::Fence::run
  trigger_kind TEXT NOT NULL,           -- schedule, manual, resync
  state TEXT NOT NULL,                  -- RUNNING, SUCCESSFUL, FAILURE, FAILURE_WITH_TASK, RESCHEDULED, CANCELED
  phase TEXT NOT NULL DEFAULT 'planning',
  started_at INTEGER NOT NULL,
  ended_at INTEGER,
  active_at INTEGER NOT NULL,           -- last sign of life; the sweeper heals runs that fell silent
  rows_read INTEGER NOT NULL DEFAULT 0,
  rows_written INTEGER NOT NULL DEFAULT 0,
  rows_filtered INTEGER NOT NULL DEFAULT 0,
  rows_deleted INTEGER NOT NULL DEFAULT 0,
  bytes INTEGER NOT NULL DEFAULT 0,
  error TEXT                            -- JSON: core::error::ErrorReport
);
CREATE INDEX sync_runs_of_connection ON sync_runs (connection_id, started_at, id);
CREATE INDEX sync_runs_alive ON sync_runs (active_at) WHERE state = 'RUNNING';

CREATE TABLE run_tables (
  run_id TEXT NOT NULL REFERENCES sync_runs(id) ON DELETE CASCADE,
  schema_name TEXT NOT NULL,
  table_name TEXT NOT NULL,
  state TEXT NOT NULL,                  -- planned, reading, published, failed
  mode TEXT NOT NULL,                   -- full, incremental
  chunks_planned INTEGER NOT NULL DEFAULT 0,
  chunks_done INTEGER NOT NULL DEFAULT 0,
  rows_read INTEGER NOT NULL DEFAULT 0,
  rows_written INTEGER NOT NULL DEFAULT 0,
  rows_filtered INTEGER NOT NULL DEFAULT 0,
  rows_deleted INTEGER NOT NULL DEFAULT 0,
  bytes INTEGER NOT NULL DEFAULT 0,
  estimated_rows INTEGER,
  live_rows INTEGER,
  error TEXT,
  PRIMARY KEY (run_id, schema_name, table_name)
) WITHOUT ROWID;

CREATE TABLE log_events (
  id TEXT PRIMARY KEY,                  -- sortable: time in microseconds, then sequence
  connection_id TEXT NOT NULL REFERENCES connections(id) ON DELETE CASCADE,
  run_id TEXT,
  level TEXT NOT NULL,                  -- INFO, WARNING, SEVERE
  event TEXT NOT NULL,
  data TEXT NOT NULL,                   -- JSON
  created_at INTEGER NOT NULL
);
CREATE INDEX log_events_of_connection ON log_events (connection_id, id);
