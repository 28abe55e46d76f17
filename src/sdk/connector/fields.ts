/** The definition's fields other than configuration, as the API takes and shows them. */

import type { Connection, ConnectionPatch, SyncMode } from '../types.js'
import type { Desired } from './desired.js'

type Settings = Pick<Desired['connection'], 'schedule' | 'syncMode' | 'paused'>
type Fields = Pick<ConnectionPatch, 'sync_mode' | 'paused'> & { schedule?: string }

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

const MINUTES: Record<string, number> = { minute: 1, minutes: 1, min: 1, mins: 1, hour: 60, hours: 60, day: 1440, days: 1440 }
const ALONE: Record<string, string> = { hourly: 'every hour', daily: 'every day', manually: 'manual' }

/** Whether the service would word the phrase as it words the current one; it answers in its own words. */
function samePhrase(wanted: string, current: string): boolean {
  return inWordsOfService(wanted) === current
}

/** `Hourly` and `every 60  minutes` are `every hour`. What is not understood stays as it is: the service will refuse it. */
function inWordsOfService(phrase: string): string {
  const text = phrase.trim().toLowerCase().replaceAll(/\s+/g, ' ')
  const [, span = text, time = ''] = /^(.*?)( at .*)?$/.exec(text) ?? []
  const words = ALONE[span] ?? span
  const [, count = '1', unit = ''] = /^every (?:(\d+) )?([a-z]+)$/.exec(words) ?? []
  const minutes = Number(count) * (MINUTES[unit] ?? Number.NaN)
  return (Number.isNaN(minutes) ? words : everyMinutes(minutes)) + time.replace(/^ at (\d):/, ' at 0$1:')
}

function everyMinutes(minutes: number): string {
  if (minutes === 1) return 'every minute'
  if (minutes === 60) return 'every hour'
  if (minutes === 1440) return 'every day'
  return minutes % 60 === 0 ? `every ${minutes / 60} hours` : `every ${minutes} minutes`
}

/**
 * Databases bring schemas of their own and get a prefix for them, also where the host comes first (`aurora_postgres`);
 * everything else gets one schema.
 */
const DATABASES = /(^|_)(postgres|mysql|maria|mongo|sql_server|oracle|hyperdrive)/

export function schemaField(service: string): 'schema' | 'schema_prefix' {
  return DATABASES.test(service) ? 'schema_prefix' : 'schema'
}
