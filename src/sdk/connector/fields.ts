/** The definition's fields other than configuration, as the API takes and shows them. */

import type { Connection, ConnectionPatch, SyncMode } from '../types.js'
import type { Desired } from './desired.js'

type Settings = Pick<Desired['connection'], 'schedule' | 'syncMode' | 'paused'>
type Fields = Pick<ConnectionPatch, 'schedule' | 'sync_mode' | 'paused'>

/** For a new connection. */
export function definitionFields({ schedule, syncMode, paused }: Settings): Fields {
  const fields: Fields = {}
  if (schedule !== undefined) fields.schedule = schedule
  // The service knows which modes there are, and names them when it refuses one.
  if (syncMode !== undefined) fields.sync_mode = syncMode as SyncMode
  if (paused !== undefined) fields.paused = paused
  return fields
}

/** For a connection that exists: what differs. What the definition does not mention stays as it is. */
export function differingFields(current: Connection, wanted: Settings): Fields {
  const fields = definitionFields(wanted)
  if (fields.schedule !== undefined && samePhrase(fields.schedule, current.schedule_phrase)) delete fields.schedule
  if (fields.sync_mode === current.sync_mode) delete fields.sync_mode
  if (fields.paused === current.paused) delete fields.paused
  return fields
}

/**
 * `Every 15  minutes` is `every 15 minutes`. The service answers with its own wording (`every hour` for `hourly`); a
 * phrase of another wording is sent again, and changes nothing there when it means the same.
 */
function samePhrase(wanted: string, current: string): boolean {
  return wanted.trim().toLowerCase().replaceAll(/\s+/g, ' ') === current
}

/** Databases bring schemas of their own and get a prefix for them; everything else gets one schema. */
const DATABASES = /^(postgres|mysql|maria|mongo|sql_server|oracle|hyperdrive)/

export function schemaField(service: string): 'schema' | 'schema_prefix' {
  return DATABASES.test(service) ? 'schema_prefix' : 'schema'
}
