import { type RequestOptions, type Transport, path } from '../http.js'
import type { Membership, NewMembership } from '../identity.js'
import type { ListOptions, Listing } from '../pages.js'
import { listing } from './listing.js'

/** Roles of users or of teams in groups or in connections. The first argument is always the user's or team's id. */
export class MembershipsResource {
  readonly #transport: Transport
  readonly #all: (subject: string) => string

  /** `of` has the roles, `place` is what they are about. */
  constructor(transport: Transport, of: 'users' | 'teams', place: 'groups' | 'connections') {
    this.#transport = transport
    this.#all = (subject) => path`/v1/${of}/${subject}/${place}`
  }

  list(subject: string, options: ListOptions = {}): Listing<Membership> {
    return listing(this.#transport, this.#all(subject), options)
  }

  get(subject: string, id: string, options: RequestOptions = {}): Promise<Membership> {
    return this.#transport.send({ ...options, method: 'GET', path: this.#one(subject, id) })
  }

  /** A `ConflictError` where there is a role already: change that one. Nobody gives away more than they have. */
  create(subject: string, membership: NewMembership, options: RequestOptions = {}): Promise<Membership> {
    return this.#transport.send({ ...options, method: 'POST', path: this.#all(subject), body: membership })
  }

  update(subject: string, id: string, role: string, options: RequestOptions = {}): Promise<Membership> {
    return this.#transport.send({ ...options, method: 'PATCH', path: this.#one(subject, id), body: { role } })
  }

  delete(subject: string, id: string, options: RequestOptions = {}): Promise<void> {
    return this.#transport.send({ ...options, method: 'DELETE', path: this.#one(subject, id) })
  }

  #one(subject: string, id: string): string {
    return this.#all(subject) + path`/${id}`
  }
}
