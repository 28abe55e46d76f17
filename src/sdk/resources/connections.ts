import { type RequestOptions, type Transport, path } from '../http.js'
import type { ListOptions, Listing } from '../pages.js'
import type {
  Connection,
  ConnectionPatch,
  ConnectionState,
  LogEvent,
  NewConnection,
  ReconcileRequest,
  Reconciliation,
  Scope,
  StartedSync,
} from '../types.js'
import { CertificatesResource } from './certificates.js'
import { listing } from './listing.js'
import { RunsResource } from './runs.js'
import { SchemasResource } from './schemas.js'

/** Connections: one source feeding one schema of one destination. */
export class ConnectionsResource {
  readonly #transport: Transport
  readonly certificates: CertificatesResource
  readonly runs: RunsResource
  readonly schemas: SchemasResource

  constructor(transport: Transport) {
    this.#transport = transport
    this.certificates = new CertificatesResource(transport)
    this.runs = new RunsResource(transport)
    this.schemas = new SchemasResource(transport)
  }

  list(options: ListOptions & { groupId?: string; schema?: string } = {}): Listing<Connection> {
    const filter = { group_id: options.groupId, schema: options.schema }
    return listing(this.#transport, '/v1/connections', options, filter)
  }

  get(id: string, options: RequestOptions = {}): Promise<Connection> {
    return this.#transport.send({ ...options, method: 'GET', path: path`/v1/connections/${id}` })
  }

  /**
   * A wrong field is an `InvalidInputError` and nothing is created. Failed setup tests are no error: the connection
   * exists with `setup_state: 'incomplete'` and is not scheduled until it passes.
   */
  create(connection: NewConnection, options: RequestOptions = {}): Promise<Connection> {
    return this.#transport.send({ ...options, method: 'POST', path: '/v1/connections', body: connection })
  }

  update(id: string, patch: ConnectionPatch, options: RequestOptions = {}): Promise<Connection> {
    return this.#transport.send({ ...options, method: 'PATCH', path: path`/v1/connections/${id}`, body: patch })
  }

  /** The data it has moved stays. */
  delete(id: string, options: RequestOptions = {}): Promise<void> {
    return this.#transport.send({ ...options, method: 'DELETE', path: path`/v1/connections/${id}` })
  }

  /** Runs the setup tests; failed tests are in `setup_tests`, not an error. */
  test(id: string, options: RequestOptions & { trustCertificates?: boolean } = {}): Promise<Connection> {
    const { trustCertificates, ...rest } = options
    const body = trustCertificates === undefined ? {} : { trust_certificates: trustCertificates }
    return this.#post(path`/v1/connections/${id}/test`, body, rest, true)
  }

  /** Starts a sync, unless one is running. `force` cancels the running one first. The answer names the run. */
  sync(id: string, options: RequestOptions & { force?: boolean } = {}): Promise<StartedSync> {
    const { force = false, ...rest } = options
    // Without force a second request finds the first one's run and leaves it alone.
    return this.#post(path`/v1/connections/${id}/sync`, { force }, rest, !force)
  }

  /** Reads all history again, of everything or of some tables. Cancels a running sync first. The answer names the run. */
  resync(id: string, scope?: Scope, options: RequestOptions = {}): Promise<StartedSync> {
    return this.#post(path`/v1/connections/${id}/resync`, scope === undefined ? {} : { scope }, options, false)
  }

  /**
   * Compares a table with its source, some ranges at a time: send `cursor: next_cursor` until there is none. What changed
   * at the source since the last sync differs too.
   */
  reconcile(id: string, request: ReconcileRequest, options: RequestOptions = {}): Promise<Reconciliation> {
    return this.#post(path`/v1/connections/${id}/reconcile`, request, options, true)
  }

  /** Where incremental reads go on from, by schema and table. */
  state(id: string, options: RequestOptions = {}): Promise<ConnectionState> {
    return this.#transport.send({ ...options, method: 'GET', path: path`/v1/connections/${id}/state` })
  }

  /** Replaces it. A `ConflictError` while a sync is running. */
  setState(id: string, state: Record<string, unknown>, options: RequestOptions = {}): Promise<ConnectionState> {
    return this.#transport.send({
      ...options,
      method: 'PATCH',
      path: path`/v1/connections/${id}/state`,
      body: { state },
    })
  }

  /** What happened, oldest first. */
  logs(id: string, options: ListOptions & { runId?: string } = {}): Listing<LogEvent> {
    return listing(this.#transport, path`/v1/connections/${id}/logs`, options, { run_id: options.runId })
  }

  #post<T>(url: string, body: unknown, options: RequestOptions, idempotent: boolean): Promise<T> {
    return this.#transport.send({ ...options, method: 'POST', path: url, body, idempotent })
  }
}
