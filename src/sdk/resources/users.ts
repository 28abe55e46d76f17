import { type RequestOptions, type Transport, path } from '../http.js'
import type { NewUser, User, UserKey, UserPatch } from '../identity.js'
import type { ListOptions, Listing } from '../pages.js'
import { listing } from './listing.js'
import { MembershipsResource } from './memberships.js'

/** People, and what they may do. */
export class UsersResource {
  readonly #transport: Transport
  /** Their roles in groups. */
  readonly groups: MembershipsResource
  /** Their roles in connections. */
  readonly connections: MembershipsResource

  constructor(transport: Transport) {
    this.#transport = transport
    this.groups = new MembershipsResource(transport, 'users', 'groups')
    this.connections = new MembershipsResource(transport, 'users', 'connections')
  }

  list(options: ListOptions & { active?: boolean; hasApiKey?: boolean } = {}): Listing<User> {
    const filter = { active: options.active?.toString(), has_api_key: options.hasApiKey?.toString() }
    return listing(this.#transport, '/v1/users', options, filter)
  }

  get(id: string, options: RequestOptions = {}): Promise<User> {
    return this.#transport.send({ ...options, method: 'GET', path: path`/v1/users/${id}` })
  }

  /** Nothing is mailed to them: give them the key of `createKey`. */
  create(user: NewUser, options: RequestOptions = {}): Promise<User> {
    return this.#transport.send({ ...options, method: 'POST', path: '/v1/users', body: user })
  }

  update(id: string, patch: UserPatch, options: RequestOptions = {}): Promise<User> {
    return this.#transport.send({ ...options, method: 'PATCH', path: path`/v1/users/${id}`, body: patch })
  }

  delete(id: string, options: RequestOptions = {}): Promise<void> {
    return this.#transport.send({ ...options, method: 'DELETE', path: path`/v1/users/${id}` })
  }

  /** Takes their account role away; those in groups and connections stay. */
  removeRole(id: string, options: RequestOptions = {}): Promise<void> {
    return this.#transport.send({ ...options, method: 'DELETE', path: path`/v1/users/${id}/role` })
  }

  /** A new key of theirs. The one they had stops working. */
  createKey(id: string, options: RequestOptions = {}): Promise<UserKey> {
    return this.#transport.send({ ...options, method: 'POST', path: path`/v1/users/${id}/api-key`, body: {} })
  }

  revokeKey(id: string, options: RequestOptions = {}): Promise<void> {
    return this.#transport.send({ ...options, method: 'DELETE', path: path`/v1/users/${id}/api-key` })
  }
}
