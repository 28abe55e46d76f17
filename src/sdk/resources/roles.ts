import type { Transport } from '../http.js'
import type { Role } from '../identity.js'
import type { ListOptions, Listing } from '../pages.js'
import { listing } from './listing.js'

/** The roles there are. Their names are what users, teams and memberships take. */
export class RolesResource {
  readonly #transport: Transport

  constructor(transport: Transport) {
    this.#transport = transport
  }

  list(options: ListOptions = {}): Listing<Role> {
    return listing(this.#transport, '/v1/roles', options)
  }
}
