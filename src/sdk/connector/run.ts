/** A run as the connector handle shows it. */

import type { ErrorReport, ProgressTable, RunProgress, RunState } from '../types.js'

/** One table of a sync. */
export interface SyncedTable {
  schema: string
  table: string
  mode: 'full' | 'incremental'
  state: ProgressTable['state']
  /** Rows made durable at the destination. */
  rows: number
  /** Rows newly marked deleted. */
  deleted: number
  bytes: number
  /** Rows expected, by the source's own estimate. */
  estimatedRows: number | undefined
  /** Rows at the destination that are not marked deleted; known once the table is published. */
  liveRows: number | undefined
  error: ErrorReport | undefined
}

/** A sync under way. */
export interface SyncProgress {
  runId: string
  phase: RunProgress['phase']
  rows: number
  /** Undefined while no table has an estimate. */
  estimatedRows: number | undefined
  bytes: number
  /** Mean since the start. */
  rowsPerSecond: number
  elapsedMs: number
  startedAt: Date
  tables: SyncedTable[]
}

/** A sync that was started, or has ended well. */
export interface SyncResult {
  /** `running` only when it was not waited for. */
  status: 'succeeded' | 'running'
  runId: string
  connectionId: string
  /** Rows made durable at the destination, all tables together. */
  rowsSynced: number
  rowsDeleted: number
  tables: SyncedTable[]
  startedAt: Date
  endedAt: Date | undefined
}

/** True once the run will not change any more. */
export function hasEnded(state: RunState): boolean {
  return state !== 'RUNNING'
}

export function tablesOf(run: RunProgress): SyncedTable[] {
  return run.tables.map((table) => ({
    schema: table.schema,
    table: table.table,
    mode: table.mode,
    state: table.state,
    rows: table.counts.written,
    deleted: table.counts.deleted,
    bytes: table.counts.bytes,
    estimatedRows: table.estimated_rows ?? undefined,
    liveRows: table.live_rows ?? undefined,
    error: table.error ?? undefined,
  }))
}

/** Progress at `now` (milliseconds, epoch). */
export function progressOf(run: RunProgress, now: number): SyncProgress {
  const tables = tablesOf(run)
  const startedAt = new Date(run.started_at)
  const end = run.ended_at ? Date.parse(run.ended_at) : now
  // The server's clock may be ahead of ours: elapsed time is never negative.
  const elapsedMs = Math.max(0, end - startedAt.getTime())
  const rows = rowsOf(tables)
  const estimated = tables.some((table) => table.estimatedRows !== undefined)
  return {
    runId: run.id,
    phase: run.phase,
    rows,
    estimatedRows: estimated ? total(tables, (table) => table.estimatedRows ?? table.rows) : undefined,
    bytes: total(tables, (table) => table.bytes),
    rowsPerSecond: elapsedMs === 0 ? 0 : Math.round((rows * 1000) / elapsedMs),
    elapsedMs,
    startedAt,
    tables,
  }
}

export function resultOf(run: RunProgress, connectionId: string): SyncResult {
  const tables = tablesOf(run)
  return {
    status: hasEnded(run.state) ? 'succeeded' : 'running',
    runId: run.id,
    connectionId,
    rowsSynced: rowsOf(tables),
    rowsDeleted: total(tables, (table) => table.deleted),
    tables,
    startedAt: new Date(run.started_at),
    endedAt: run.ended_at ? new Date(run.ended_at) : undefined,
  }
}

/** Rows of all tables together. */
export function rowsOf(tables: SyncedTable[]): number {
  return total(tables, (table) => table.rows)
}

function total(tables: SyncedTable[], of: (table: SyncedTable) => number): number {
  return tables.reduce((sum, table) => sum + of(table), 0)
}
