import { type RequestOptions, type Transport, path } from '../http.js'
import type { ListOptions, Listing } from '../pages.js'
import type { ConnectorType, MetadataColumn, MetadataObject } from '../types.js'
import { listing } from './listing.js'

/** What the service can connect to, and what it knows of what a connection reads. */
export class MetadataResource {
  readonly #transport: Transport

  constructor(transport: Transport) {
    this.#transport = transport
  }

  connectorTypes(options: ListOptions = {}): Listing<ConnectorType> {
    return listing(this.#transport, '/v1/metadata/connector-types', options)
  }

  /** One of them, with the JSON schema of its configuration. */
  connectorType(service: string, options: RequestOptions = {}): Promise<ConnectorType> {
    return this.#transport.send({ ...options, method: 'GET', path: path`/v1/metadata/connector-types/${service}` })
  }

  /** What is known of a connection's schemas; nothing before its first sync or reload. */
  schemas(connectionId: string, options: ListOptions = {}): Listing<MetadataObject> {
    return listing(this.#transport, path`/v1/metadata/connectors/${connectionId}/schemas`, options)
  }

  tables(connectionId: string, options: ListOptions = {}): Listing<MetadataObject> {
    return listing(this.#transport, path`/v1/metadata/connectors/${connectionId}/tables`, options)
  }

  columns(connectionId: string, options: ListOptions = {}): Listing<MetadataColumn> {
    return listing(this.#transport, path`/v1/metadata/connectors/${connectionId}/columns`, options)
  }
}
