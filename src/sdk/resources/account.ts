import type { RequestOptions, Transport } from '../http.js'
import type { AccountInfo } from '../types.js'

export class AccountResource {
  readonly #transport: Transport

  constructor(transport: Transport) {
    this.#transport = transport
  }

  /** Who the key belongs to: a good first call. */
  info(options: RequestOptions = {}): Promise<AccountInfo> {
    return this.#transport.send({ ...options, method: 'GET', path: '/v1/account/info' })
  }
}
