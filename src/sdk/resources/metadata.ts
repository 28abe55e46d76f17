import { type RequestOptions, type Transport, path } from '../http.js'
import type { ListOptions, Listing } from '../pages.js'
import type { ConnectorType } from '../types.js'
import { listing } from './listing.js'

/** What the service can connect to. */
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
}
