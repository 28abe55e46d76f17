import { type RequestOptions, type Transport, path } from '../http.js'
import type { ListOptions, Listing } from '../pages.js'
import type { Destination, DestinationPatch, NewDestination } from '../types.js'
import { listing } from './listing.js'

export class DestinationsResource {
  readonly #transport: Transport

  constructor(transport: Transport) {
    this.#transport = transport
  }

  list(options: ListOptions = {}): Listing<Destination> {
    return listing(this.#transport, '/v1/destinations', options)
  }

  get(id: string, options: RequestOptions = {}): Promise<Destination> {
    return this.#transport.send({ ...options, method: 'GET', path: path`/v1/destinations/${id}` })
  }

  /** One per group: its id is the group's. */
  create(destination: NewDestination, options: RequestOptions = {}): Promise<Destination> {
    return this.#transport.send({ ...options, method: 'POST', path: '/v1/destinations', body: destination })
  }

  update(id: string, patch: DestinationPatch, options: RequestOptions = {}): Promise<Destination> {
    return this.#transport.send({ ...options, method: 'PATCH', path: path`/v1/destinations/${id}`, body: patch })
  }

  /** A destination that still has connections is a `ConflictError`. The data in it is not touched. */
  delete(id: string, options: RequestOptions = {}): Promise<void> {
    return this.#transport.send({ ...options, method: 'DELETE', path: path`/v1/destinations/${id}` })
  }

  /** Runs the setup tests; failed tests are in `setup_tests`, not an error. */
  test(id: string, options: RequestOptions = {}): Promise<Destination> {
    return this.#transport.send({
      ...options,
      method: 'POST',
      path: path`/v1/destinations/${id}/test`,
      body: {},
      idempotent: true,
    })
  }
}
