import type { RequestOptions, Transport } from '../http.js'
import type { Resealed, VaultKey } from '../types.js'

/** The keys that secrets are sealed with at the service, and taking one out of use. */
export class VaultResource {
  readonly #transport: Transport

  constructor(transport: Transport) {
    this.#transport = transport
  }

  /** What each key holds: the one that seals first, then the others that are configured, then those that are missing. */
  async keys(options: RequestOptions = {}): Promise<VaultKey[]> {
    const answer = await this.#transport.send<{ items: VaultKey[] }>({ ...options, method: 'GET', path: '/v1/vault/keys' })
    return answer.items
  }

  /**
   * Seals about 200 values anew under the newest key: send `cursor: next_cursor` until there is none. It may be ended
   * anywhere, and repeated.
   */
  reseal(options: RequestOptions & { cursor?: string | undefined } = {}): Promise<Resealed> {
    const { cursor, ...rest } = options
    const body = cursor === undefined ? {} : { cursor }
    return this.#transport.send({ ...rest, method: 'POST', path: '/v1/vault/reseal', body, idempotent: true })
  }
}
