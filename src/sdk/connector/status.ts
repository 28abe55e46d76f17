/** Health of a connector in one word, and the facts behind it. */

import type { Connection, RunProgress, SetupTest, Task } from '../types.js'
import { rowsOf, tablesOf } from './run.js'

export type Health = 'healthy' | 'syncing' | 'failing' | 'paused' | 'incomplete'

export interface ConnectorStatus {
  /**
   * `incomplete`: setup tests fail, so it is not scheduled. `failing`: the last sync failed, or a person must act.
   * `healthy`: otherwise, also before the first sync.
   */
  status: Health
  /** End of the last sync that succeeded. */
  lastSync: Date | undefined
  /** End of the last sync that failed. */
  lastFailure: Date | undefined
  /** Rows made durable by the current or last sync. */
  rowsSynced: number
  /** When the clock starts the next one; undefined when it will not (paused, manual, incomplete). */
  nextSync: Date | undefined
  /** Things a person must do. */
  tasks: Task[]
  warnings: Task[]
  /** Setup tests that failed. */
  failedTests: SetupTest[]
  connectionId: string
  /** The current or last sync. */
  run: RunProgress | undefined
}

export function statusOf(connection: Connection, run: RunProgress | undefined): ConnectorStatus {
  const tests = connection.setup_tests ?? []
  return {
    status: healthOf(connection),
    lastSync: dateOf(connection.succeeded_at),
    lastFailure: dateOf(connection.failed_at),
    rowsSynced: run === undefined ? 0 : rowsOf(tablesOf(run)),
    nextSync: dateOf(connection.next_sync_at),
    tasks: connection.status.tasks,
    warnings: connection.status.warnings,
    failedTests: tests.filter((test) => test.status === 'FAILED'),
    connectionId: connection.id,
    run,
  }
}

function healthOf({ paused, status, succeeded_at, failed_at }: Connection): Health {
  if (status.sync_state === 'syncing') return 'syncing'
  if (status.setup_state === 'incomplete') return 'incomplete'
  if (paused) return 'paused'
  // ISO-8601 in UTC with a fixed number of digits: text order is time order, to the microsecond a Date would cut off.
  const failedLast = failed_at !== null && (succeeded_at === null || failed_at > succeeded_at)
  return failedLast || status.setup_state === 'broken' || status.tasks.length > 0 ? 'failing' : 'healthy'
}

function dateOf(timestamp: string | null | undefined): Date | undefined {
  return timestamp ? new Date(timestamp) : undefined
}
