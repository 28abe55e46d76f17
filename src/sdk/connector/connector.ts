/** The handle that `createConnector` returns. */

import { FivetranError, NotFoundError, ServerError, SyncFailedError } from '../errors.js'
import type { Listeners, SyncCompleteEvent, SyncErrorEvent } from '../events.js'
import type { RequestOptions } from '../http.js'
import type { ListOptions, Listing } from '../pages.js'
import type { ConnectionsResource } from '../resources/connections.js'
import type { Connection, ErrorReport, LogEvent, Run, RunProgress, Scope, StartedSync } from '../types.js'
import type { ConnectorDefinition } from './definition.js'
import type { ConnectorPlan } from './plan.js'
import type { Provisioner } from './provisioner.js'
import { type SyncProgress, type SyncResult, hasEnded, progressOf, resultOf } from './run.js'
import { type ConnectorStatus, statusOf } from './status.js'
import { STILL_RUNNING, waitForEnd } from './wait.js'

export interface SyncOptions {
  /** Wait for the end. Default true. */
  wait?: boolean
  /** Called about once a second, and at the end. */
  onProgress?: (progress: SyncProgress) => void
  /** Ends the waiting, not the sync. */
  signal?: AbortSignal
  /** Longest time to wait in milliseconds. Default: without limit. */
  timeoutMs?: number
}

export interface ResyncOptions extends SyncOptions {
  /** Only these, as `schema.table` or by schema. Default: everything. */
  tables?: string[] | Scope
}

export interface ConnectorDependencies {
  connections: ConnectionsResource
  provisioner: Provisioner
  completed: Listeners<SyncCompleteEvent>
  failed: Listeners<SyncErrorEvent>
}

/**
 * A pipeline as code. Making the handle does nothing yet; the first awaited call finds or creates the connection at the
 * service and changes it where the definition differs.
 */
export class Connector {
  readonly id: string
  readonly #definition: ConnectorDefinition
  readonly #deps: ConnectorDependencies
  #connectionId: string | undefined

  constructor(definition: ConnectorDefinition, deps: ConnectorDependencies) {
    this.id = definition.id
    this.#definition = definition
    this.#deps = deps
  }

  /** Makes the service hold this definition. Every other method does so by itself, once per handle. */
  async ensure(options: RequestOptions = {}): Promise<Connection> {
    const connection = await this.#deps.provisioner.ensure(this.#definition, options)
    this.#connectionId = connection.id
    return connection
  }

  /** What {@link ensure} would create or change, without doing it. */
  plan(options: RequestOptions = {}): Promise<ConnectorPlan> {
    return this.#deps.provisioner.plan(this.#definition, options)
  }

  /** The connection, if the service holds one; nothing is created. */
  find(options: RequestOptions = {}): Promise<Connection | undefined> {
    return this.#deps.provisioner.find(this.#definition, options)
  }

  /**
   * Moves what is new, and waits until it is durable. Joins the sync that is running, if there is one.
   *
   * Throws `SyncFailedError` when the sync ends without success.
   */
  sync(options: SyncOptions = {}): Promise<SyncResult> {
    return this.#run(options, (id, request) => this.#deps.connections.sync(id, request))
  }

  /**
   * Reads all history again, and waits as `sync` does. Rows that are gone at the source are marked `_fivetran_deleted`.
   * Cancels the sync that is running, if there is one.
   */
  resync(options: ResyncOptions = {}): Promise<SyncResult> {
    const scope = options.tables === undefined ? undefined : scopeOf(options.tables)
    return this.#run(options, (id, request) => this.#deps.connections.resync(id, scope, request))
  }

  /** Health, last and next sync. */
  async status(options: RequestOptions = {}): Promise<ConnectorStatus> {
    return this.#withConnection(options, async (id) => {
      const [connection, run] = await Promise.all([
        this.#deps.connections.get(id, options),
        this.#deps.connections.runs.progress(id, options),
      ])
      return statusOf(connection, run)
    })
  }

  /** Stops the clock and the running sync. What is durable stays. */
  async pause(options: RequestOptions = {}): Promise<void> {
    await this.#withConnection(options, (id) => this.#deps.connections.update(id, { paused: true }, options))
  }

  async resume(options: RequestOptions = {}): Promise<void> {
    await this.#withConnection(options, (id) => this.#deps.connections.update(id, { paused: false }, options))
  }

  /** What happened, oldest first. */
  async *logs(options: ListOptions & { runId?: string } = {}): AsyncGenerator<LogEvent, void, undefined> {
    const id = await this.#id(options)
    yield* this.#deps.connections.logs(id, options)
  }

  /** Its syncs, oldest first. */
  async *runs(options: ListOptions = {}): AsyncGenerator<Run, void, undefined> {
    const id = await this.#id(options)
    const listing: Listing<Run> = this.#deps.connections.runs.list(id, options)
    yield* listing
  }

  /**
   * Deletes the connection, if there is one. The data it has moved stays, and so does the destination, which other
   * connectors may use. Returns whether there was one.
   */
  async delete(options: RequestOptions = {}): Promise<boolean> {
    const found = await this.#deps.provisioner.find(this.#definition, options)
    this.#connectionId = undefined
    if (found === undefined) return false
    try {
      await this.#deps.connections.delete(found.id, options)
    } catch (error) {
      if (!(error instanceof NotFoundError)) throw error
      return false
    } finally {
      this.#deps.provisioner.forget(found.id)
    }
    return true
  }

  async #id(options: RequestOptions): Promise<string> {
    const { signal, timeoutMs } = options
    return this.#connectionId ?? (await this.ensure({ signal, timeoutMs })).id
  }

  /** Calls with the connection's id; once more from scratch when it was deleted behind this handle's back. */
  async #withConnection<T>(options: RequestOptions, call: (id: string) => Promise<T>): Promise<T> {
    const remembered = this.#connectionId !== undefined
    const id = await this.#id(options)
    try {
      return await call(id)
    } catch (error) {
      if (!remembered || !(error instanceof NotFoundError)) throw error
      this.#connectionId = undefined
      this.#deps.provisioner.forget(id)
      return call(await this.#id(options))
    }
  }

  async #run(
    options: SyncOptions,
    start: (id: string, request: RequestOptions) => Promise<StartedSync>,
  ): Promise<SyncResult> {
    const request = { signal: options.signal }
    try {
      const { id, started } = await this.#withConnection(request, async (id) => {
        const { run_id } = await start(id, request)
        if (run_id === null) throw new ServerError('The service names no run for this sync.', { code: 'SyncNotStarted' })
        return { id, started: await this.#look(id, run_id, options.signal) }
      })
      const run = options.wait === false ? started : await this.#follow(id, started, options)
      if (hasEnded(run.state) && run.state !== 'SUCCESSFUL') throw await this.#failure(id, run, options.signal)
      const result = resultOf(run, id)
      if (result.status === 'succeeded') await this.#deps.completed.emit({ connectorId: this.id, ...result })
      return result
    } catch (error) {
      if (error instanceof FivetranError && error.code !== STILL_RUNNING) {
        await this.#deps.failed.emit({ connectorId: this.id, connectionId: this.#connectionId, error })
      }
      throw error
    }
  }

  /** The run as it ended. */
  async #follow(connectionId: string, started: RunProgress, options: SyncOptions): Promise<RunProgress> {
    const { signal, timeoutMs, onProgress } = options
    const look = () => this.#look(connectionId, started.id, signal)
    const onChange = onProgress && ((run: RunProgress) => onProgress(progressOf(run, Date.now())))
    onChange?.(started)
    if (hasEnded(started.state)) return started
    return waitForEnd(look, { signal, timeoutMs, onChange })
  }

  /** The run as it is now. */
  async #look(connectionId: string, runId: string, signal: AbortSignal | undefined): Promise<RunProgress> {
    const { runs } = this.#deps.connections
    const live = await runs.progress(connectionId, { signal })
    if (live?.id === runId) return live
    // Another run has taken its place: what is left is the record of it.
    const kept = await runs.get(connectionId, runId, { signal })
    return { ...kept, tables: kept.tables ?? [] }
  }

  async #failure(connectionId: string, run: RunProgress, signal: AbortSignal | undefined): Promise<SyncFailedError> {
    const { status } = await this.#deps.connections.get(connectionId, { signal })
    const tables = run.tables.filter((table) => table.state === 'failed')
    const report = run.error ?? tables.find((table) => table.error)?.error
    const reason = report ? sentences(report) : `It ended ${run.state}.`
    return new SyncFailedError(`The sync of connector ${this.id} failed: ${reason}`, report?.kind ?? run.state, {
      connectorId: this.id,
      connectionId,
      runId: run.id,
      state: run.state,
      tasks: status.tasks,
      tables,
      rescheduledFor: status.rescheduled_for ? new Date(status.rescheduled_for) : undefined,
    })
  }
}

/** As the service words its own errors: what happened, then what to do. */
function sentences({ message, remedy }: ErrorReport): string {
  return remedy === undefined ? message : `${message.replace(/\.$/, '')}. ${remedy}`
}

/** `['public.users']` → `{ public: ['users'] }`. The first dot separates: a schema with a dot needs the object form. */
function scopeOf(tables: string[] | Scope): Scope {
  if (!Array.isArray(tables)) return tables
  const scope: Scope = {}
  for (const name of tables) {
    const dot = name.indexOf('.')
    const schema = dot === -1 ? '' : name.slice(0, dot)
    ;(scope[schema] ??= []).push(name.slice(dot + 1))
  }
  return scope
}
