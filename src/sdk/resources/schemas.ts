import { type RequestOptions, type Transport, path } from '../http.js'
import type { ListOptions, Listing } from '../pages.js'
import type {
  ColumnConfig,
  ColumnPatch,
  ColumnsToDrop,
  SchemaConfig,
  SchemaConfigPatch,
  SchemaPatch,
  SchemaVersion,
  TablePatch,
} from '../types.js'
import { listing } from './listing.js'

/** Which schemas, tables and columns a connection moves. Names are those at the source, and case matters. */
export class SchemasResource {
  readonly #transport: Transport

  constructor(transport: Transport) {
    this.#transport = transport
  }

  /** A `NotFoundError` with code `NotFound_SchemaConfig` before the first sync or `reload`. */
  get(connectionId: string, options: RequestOptions = {}): Promise<SchemaConfig> {
    return this.#transport.send({ ...options, method: 'GET', path: path`/v1/connections/${connectionId}/schemas` })
  }

  /** Looks at the source. `EXCLUDE` switches every table off, `INCLUDE` on, `PRESERVE` (default) neither. */
  reload(
    connectionId: string,
    options: RequestOptions & { excludeMode?: 'PRESERVE' | 'INCLUDE' | 'EXCLUDE' } = {},
  ): Promise<SchemaConfig> {
    const { excludeMode, ...rest } = options
    return this.#transport.send({
      ...rest,
      method: 'POST',
      path: path`/v1/connections/${connectionId}/schemas/reload`,
      body: excludeMode === undefined ? {} : { exclude_mode: excludeMode },
      idempotent: true,
    })
  }

  /** As `update`, before the first sync: looks at the source first where nothing is known of it yet. */
  create(connectionId: string, config: SchemaConfigPatch, options: RequestOptions = {}): Promise<SchemaConfig> {
    return this.#transport.send({
      ...options,
      method: 'POST',
      path: path`/v1/connections/${connectionId}/schemas`,
      body: config,
      idempotent: true,
    })
  }

  update(connectionId: string, patch: SchemaConfigPatch, options: RequestOptions = {}): Promise<SchemaConfig> {
    return this.#patch(path`/v1/connections/${connectionId}/schemas`, patch, options)
  }

  updateSchema(
    connectionId: string,
    schema: string,
    patch: SchemaPatch,
    options: RequestOptions = {},
  ): Promise<SchemaConfig> {
    return this.#patch(path`/v1/connections/${connectionId}/schemas/${schema}`, patch, options)
  }

  updateTable(
    connectionId: string,
    schema: string,
    table: string,
    patch: TablePatch,
    options: RequestOptions = {},
  ): Promise<SchemaConfig> {
    return this.#patch(path`/v1/connections/${connectionId}/schemas/${schema}/tables/${table}`, patch, options)
  }

  updateColumn(
    connectionId: string,
    [schema, table, column]: [schema: string, table: string, column: string],
    patch: ColumnPatch,
    options: RequestOptions = {},
  ): Promise<SchemaConfig> {
    const url = path`/v1/connections/${connectionId}/schemas/${schema}/tables/${table}/columns/${column}`
    return this.#patch(url, patch, options)
  }

  /** All columns of a table, by name at the source. */
  async columns(
    connectionId: string,
    schema: string,
    table: string,
    options: RequestOptions = {},
  ): Promise<Record<string, ColumnConfig>> {
    const url = path`/v1/connections/${connectionId}/schemas/${schema}/tables/${table}/columns`
    const answer = await this.#transport.send<{ columns: Record<string, ColumnConfig> }>({
      ...options,
      method: 'GET',
      path: url,
    })
    return answer.columns
  }

  /** Has the next sync of the table drop a blocked column at the destination, with its values. */
  dropColumn(
    connectionId: string,
    [schema, table, column]: [schema: string, table: string, column: string],
    options: RequestOptions = {},
  ): Promise<void> {
    const url = path`/v1/connections/${connectionId}/schemas/${schema}/tables/${table}/columns/${column}`
    return this.#transport.send({ ...options, method: 'DELETE', path: url })
  }

  /** The same of many: columns by table by schema, by their names at the source. All or none. */
  dropColumns(connectionId: string, columns: ColumnsToDrop, options: RequestOptions = {}): Promise<void> {
    const url = path`/v1/connections/${connectionId}/schemas/drop-columns`
    return this.#transport.send({ ...options, method: 'POST', path: url, body: columns, idempotent: true })
  }

  /** How the tables' shapes changed over time. */
  versions(connectionId: string, options: ListOptions = {}): Listing<SchemaVersion> {
    return listing(this.#transport, path`/v1/connections/${connectionId}/schema-versions`, options)
  }

  #patch(url: string, body: unknown, options: RequestOptions): Promise<SchemaConfig> {
    return this.#transport.send({ ...options, method: 'PATCH', path: url, body })
  }
}
