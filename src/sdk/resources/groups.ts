import { type RequestOptions, type Transport, path } from '../http.js'
import type { GroupUser, User } from '../identity.js'
import type { ListOptions, Listing } from '../pages.js'
import type { Connection, Group } from '../types.js'
import { listing } from './listing.js'

/** Groups: the homes of destinations. */
export class GroupsResource {
  readonly #transport: Transport

  constructor(transport: Transport) {
    this.#transport = transport
  }

  list(options: ListOptions = {}): Listing<Group> {
    return listing(this.#transport, '/v1/groups', options)
  }

  get(id: string, options: RequestOptions = {}): Promise<Group> {
    return this.#transport.send({ ...options, method: 'GET', path: path`/v1/groups/${id}` })
  }

  /** Names are unique in the account: a second group of that name is a `ConflictError`. */
  create(group: { name: string }, options: RequestOptions = {}): Promise<Group> {
    return this.#transport.send({ ...options, method: 'POST', path: '/v1/groups', body: group })
  }

  update(id: string, patch: { name: string }, options: RequestOptions = {}): Promise<Group> {
    return this.#transport.send({ ...options, method: 'PATCH', path: path`/v1/groups/${id}`, body: patch })
  }

  delete(id: string, options: RequestOptions = {}): Promise<void> {
    return this.#transport.send({ ...options, method: 'DELETE', path: path`/v1/groups/${id}` })
  }

  connections(id: string, options: ListOptions & { schema?: string } = {}): Listing<Connection> {
    return listing(this.#transport, path`/v1/groups/${id}/connections`, options, { schema: options.schema })
  }

  /** Who has a role in it: one of their own, a team's, or one in the whole account. */
  users(id: string, options: ListOptions & { active?: boolean } = {}): Listing<User> {
    return listing(this.#transport, path`/v1/groups/${id}/users`, options, { active: options.active?.toString() })
  }

  /** Gives a user of the account a role in it. */
  addUser(id: string, user: GroupUser, options: RequestOptions = {}): Promise<void> {
    return this.#transport.send({ ...options, method: 'POST', path: path`/v1/groups/${id}/users`, body: user })
  }

  removeUser(id: string, userId: string, options: RequestOptions = {}): Promise<void> {
    return this.#transport.send({ ...options, method: 'DELETE', path: path`/v1/groups/${id}/users/${userId}` })
  }
}
