/** `sync`, `status`, `logs` and `connectors`: what runs, and how it is. */

import type { Connector, ResyncOptions } from '../connector/connector.js'
import type { SyncProgress } from '../connector/run.js'
import { statusOf } from '../connector/status.js'
import { AuthenticationError, FivetranError, NetworkError } from '../errors.js'
import { type Arguments, mustStandAlone, numberOf, valueOf } from './arguments.js'
import { CommandError, type Host } from './host.js'
import { connectorOf, loadProject } from './project.js'
import { connect } from './session.js'

/** Entries that `logs` shows unless told otherwise. */
const LOG_ENTRIES = 100

async function chosen(host: Host, args: Arguments, ids = args.words.slice(1)) {
  const config = await loadProject(host, args)
  const fivetran = await connect(host, args, config)
  for (const id of ids) {
    if (!config.connectors.some((one) => one.id === id)) throw new CommandError(`The configuration has no connector ${id}.`)
  }
  const wanted = config.connectors.filter(({ id }) => ids.length === 0 || ids.includes(id))
  return { fivetran, connectors: wanted.map((definition) => connectorOf(fivetran, definition)) }
}

/** Syncs one after the other; a failed one does not keep the next from its turn, and makes the exit code 1. */
export async function sync(host: Host, args: Arguments): Promise<number> {
  const options = syncOptions(args)
  const { connectors } = await chosen(host, args)
  let failed = 0
  for (const connector of connectors) {
    try {
      await mustBeApplied(connector)
      host.out(await syncOne(host, args, connector, options))
    } catch (error) {
      // What concerns the service as a whole would be the same for the next one.
      if (error instanceof AuthenticationError || error instanceof NetworkError) throw error
      if (!(error instanceof FivetranError || error instanceof CommandError)) throw error
      failed += 1
      host.err(`${connector.id}: ${error.message}`)
    }
  }
  return failed > 0 ? 1 : 0
}

/** A sync must not be what changes a pipeline behind the plan's back. */
async function mustBeApplied(connector: Connector): Promise<void> {
  const { action } = await connector.plan()
  if (action !== 'none') throw new CommandError('it differs from the configuration. Run: fivetran apply')
}

function syncOptions(args: Arguments): ResyncOptions {
  const seconds = numberOf(args, 'timeout')
  const tables = valueOf(args, 'tables')?.split(',')
  return {
    wait: !args.flags.has('no-wait'),
    ...(seconds !== undefined && { timeoutMs: seconds * 1000 }),
    ...(tables !== undefined && { tables }),
  }
}

async function syncOne(host: Host, args: Arguments, connector: Connector, common: ResyncOptions): Promise<string> {
  const options = { ...common }
  if (host.isTerminal) options.onProgress = (progress) => host.err(progressLine(connector.id, progress))
  const again = args.flags.has('resync') || options.tables !== undefined
  const result = again ? await connector.resync(options) : await connector.sync(options)
  if (result.status !== 'succeeded') return `${connector.id}: started (run ${result.runId})`
  const deleted = result.rowsDeleted > 0 ? `, ${result.rowsDeleted} marked deleted` : ''
  return `${connector.id}: ${result.rowsSynced} rows in ${result.tables.length} tables${deleted} (run ${result.runId})`
}

function progressLine(id: string, { phase, rows, estimatedRows, rowsPerSecond }: SyncProgress): string {
  const of = estimatedRows ? ` of about ${Math.max(estimatedRows, rows)}` : ''
  return `${id}: ${phase}, ${rows}${of} rows, ${rowsPerSecond} rows/s`
}

/** One line each, tasks below; exit code 1 when one is failing or incomplete. */
export async function status(host: Host, args: Arguments): Promise<number> {
  const { fivetran, connectors } = await chosen(host, args)
  const rows = []
  for (const connector of connectors) {
    const found = await connector.find()
    const run = found && (await fivetran.connections.runs.progress(found.id))
    rows.push({ id: connector.id, ...(found ? statusOf(found, run) : { status: 'not applied' as const }) })
  }
  if (args.flags.has('json')) host.out(JSON.stringify(rows, undefined, 2))
  else {
    for (const row of rows) {
      if (row.status === 'not applied') {
        host.out(`${row.id}: not applied`)
        continue
      }
      const last = row.lastSync ? `last sync ${row.lastSync.toISOString()}, ${row.rowsSynced} rows` : 'never synced'
      const next = row.nextSync ? `, next ${row.nextSync.toISOString()}` : ''
      host.out(`${row.id}: ${row.status}, ${last}${next}`)
      for (const task of row.tasks) host.out(`    ${task.code}: ${task.message}`)
      for (const test of row.failedTests) host.out(`    ${test.title}: ${test.message ?? 'failed'}`)
    }
  }
  return rows.some((row) => row.status === 'failing' || row.status === 'incomplete') ? 1 : 0
}

/** The newest entries of a connector's log, oldest first. */
export async function logs(host: Host, args: Arguments): Promise<number> {
  if (args.words.length !== 2) throw new CommandError('Whose logs? fivetran logs CONNECTOR')
  const limit = numberOf(args, 'limit') ?? LOG_ENTRIES
  const { fivetran, connectors } = await chosen(host, args)
  const found = await connectors[0]?.find()
  if (!found) throw new CommandError(`${args.words[1]} is not applied yet. Run: fivetran apply`)
  const runId = valueOf(args, 'run')
  const listing = fivetran.connections.logs(found.id, { limit: 1000, ...(runId !== undefined && { runId }) })
  const newest = (await listing.all()).slice(-limit)
  for (const entry of newest) {
    if (args.flags.has('json')) host.out(JSON.stringify(entry))
    else host.out(`${entry.created_at} ${entry.level} ${entry.event} ${JSON.stringify(entry.data)}`)
  }
  return 0
}

/** Every connection of the service, also those of no configuration file. */
export async function connectors(host: Host, args: Arguments): Promise<number> {
  mustStandAlone(args)
  const fivetran = await connect(host, args)
  const all = await fivetran.connections.list({ limit: 1000 }).all()
  if (args.flags.has('json')) {
    host.out(JSON.stringify(all, undefined, 2))
    return 0
  }
  for (const { id, schema, service, paused, status, schedule_phrase } of all) {
    host.out(`${id}  ${schema}  ${service}  ${paused ? 'paused' : status.sync_state}  ${status.setup_state}  ${schedule_phrase}`)
  }
  return 0
}
