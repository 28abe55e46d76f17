/** What `ensure` would do, without doing it. */

import { type Config, type Connection, type Destination, MASKED } from '../types.js'
import type { Desired } from './desired.js'
import { difference } from './difference.js'
import { definitionFields, differingFields } from './fields.js'

/** One field that would be set. Secrets are masked. */
export interface PlannedChange {
  /** `schedule`, `sync_mode`, `paused`, `source.…` or `destination.…`. */
  field: string
  /** Absent when the service holds nothing there. */
  from?: unknown
  /** Absent when the definition no longer has it. */
  to?: unknown
}

export interface ConnectorPlan {
  id: string
  action: 'create' | 'update' | 'none'
  /** Absent before it is created. */
  connectionId: string | undefined
  /** Id of its group, once there is one. */
  groupId: string | undefined
  changes: PlannedChange[]
}

/** What the service holds for a definition. */
export interface Found {
  groupId: string | undefined
  destination: Destination | undefined
  connection: Connection | undefined
}

/** @param secrets Names of the source's fields that hold secrets, by its JSON schema. */
export function planFor(id: string, want: Desired, found: Found, secrets: ReadonlySet<string>): ConnectorPlan {
  const { connection, destination, groupId } = found
  const changes = [
    ...settings(want, connection),
    ...configuration('source', want.connection.config, connection?.config, secrets),
    ...configuration('destination', want.destination.config, destination?.config, secrets),
  ]
  if (connection === undefined) return { id, action: 'create', connectionId: undefined, groupId, changes }
  return { id, action: changes.length === 0 ? 'none' : 'update', connectionId: connection.id, groupId, changes }
}

function settings({ connection: want }: Desired, current: Connection | undefined): PlannedChange[] {
  const fields = current === undefined ? definitionFields(want) : differingFields(current, want)
  const shown = { schedule: current?.schedule_phrase, sync_mode: current?.sync_mode, paused: current?.paused }
  return Object.entries(fields).map(([field, to]) => {
    const from = shown[field as keyof typeof shown]
    return from === undefined ? { field, to } : { field, from, to }
  })
}

/** Secrets of what exists cannot be compared, so they are no change; those of what is new are shown to be set. */
function configuration(where: string, wanted: Config, current: Config | null | undefined, secrets: ReadonlySet<string>): PlannedChange[] {
  const { changed } = difference(wanted, current ?? {})
  return Object.entries(changed).map(([name, value]) => {
    const shown = (held: unknown) => (secrets.has(name) || LIKE_A_SECRET.test(name) ? MASKED : held)
    const change: PlannedChange = { field: `${where}.${name}` }
    const from = current?.[name]
    if (from !== undefined && from !== null) change.from = shown(from)
    if (value !== undefined && value !== null) change.to = shown(value)
    return change
  })
}

/** For what no schema speaks about. A field that is masked without need costs less than one that is not. */
const LIKE_A_SECRET = /pass|secret|token|credential|private|api_?key|^url$/i

/** Fields of format `password` in a connector type's JSON schema. */
export function secretFields(schema: unknown): Set<string> {
  const properties = (schema as { properties?: Record<string, unknown> } | undefined)?.properties ?? {}
  const isSecret = (property: unknown) => JSON.stringify(property).includes('"format":"password"')
  return new Set(Object.keys(properties).filter((name) => isSecret(properties[name])))
}
