import { type RequestOptions, type Transport, path } from '../http.js'
import type { KeyPeriod, NewSystemKey, SystemKey, SystemKeyPatch } from '../identity.js'
import type { ListOptions, Listing } from '../pages.js'
import { listing } from './listing.js'

/** Keys for programs, with permissions of their own and an end. */
export class SystemKeysResource {
  readonly #transport: Transport

  constructor(transport: Transport) {
    this.#transport = transport
  }

  list(options: ListOptions = {}): Listing<SystemKey> {
    return listing(this.#transport, '/v1/system-keys', options)
  }

  get(id: string, options: RequestOptions = {}): Promise<SystemKey> {
    return this.#transport.send({ ...options, method: 'GET', path: path`/v1/system-keys/${id}` })
  }

  /** The answer has the secret; no other has. */
  create(key: NewSystemKey, options: RequestOptions = {}): Promise<SystemKey> {
    return this.#transport.send({ ...options, method: 'POST', path: '/v1/system-keys', body: key })
  }

  update(id: string, patch: SystemKeyPatch, options: RequestOptions = {}): Promise<SystemKey> {
    return this.#transport.send({ ...options, method: 'PATCH', path: path`/v1/system-keys/${id}`, body: patch })
  }

  delete(id: string, options: RequestOptions = {}): Promise<void> {
    return this.#transport.send({ ...options, method: 'DELETE', path: path`/v1/system-keys/${id}` })
  }

  /** New halves, with a new secret in the answer. The old ones stop working at once. */
  rotate(id: string, options: RequestOptions & { expirationPeriod?: KeyPeriod } = {}): Promise<SystemKey> {
    const { expirationPeriod, ...rest } = options
    const body = expirationPeriod === undefined ? {} : { expiration_period: expirationPeriod }
    return this.#transport.send({ ...rest, method: 'POST', path: path`/v1/system-keys/${id}/rotate`, body })
  }
}
