import { type RequestOptions, type Transport, path } from '../http.js'
import type { ListOptions, Listing } from '../pages.js'
import type { LogService, LogServiceDetails, LogServicePatch, LogServiceTest, NewLogService } from '../types.js'
import { listing } from './listing.js'

/** Id of the account's own log service. */
const ACCOUNT = 'account'

/** External services that the log is sent to: one for the account, one for each group. */
export class LogServicesResource {
  readonly #transport: Transport

  constructor(transport: Transport) {
    this.#transport = transport
  }

  list(options: ListOptions = {}): Listing<LogService> {
    return listing(this.#transport, '/v1/external-logging', options)
  }

  /** Of a group by its id; the account's where it is left out. */
  get(id = ACCOUNT, options: RequestOptions = {}): Promise<LogServiceDetails> {
    return this.#transport.send({ ...options, method: 'GET', path: path`/v1/external-logging/${id}` })
  }

  create(service: NewLogService, options: RequestOptions = {}): Promise<LogServiceDetails> {
    const url = service.group_id === undefined ? path`/v1/external-logging/${ACCOUNT}` : '/v1/external-logging'
    return this.#transport.send({ ...options, method: 'POST', path: url, body: service })
  }

  update(id: string, patch: LogServicePatch, options: RequestOptions = {}): Promise<LogServiceDetails> {
    return this.#transport.send({ ...options, method: 'PATCH', path: path`/v1/external-logging/${id}`, body: patch })
  }

  delete(id: string, options: RequestOptions = {}): Promise<void> {
    return this.#transport.send({ ...options, method: 'DELETE', path: path`/v1/external-logging/${id}` })
  }

  /** Sends a test event; a service that refuses it is a failed test, not an error. */
  test(id: string, options: RequestOptions = {}): Promise<LogServiceTest> {
    return this.#transport.send({ ...options, method: 'POST', path: path`/v1/external-logging/${id}/test`, body: {} })
  }
}
