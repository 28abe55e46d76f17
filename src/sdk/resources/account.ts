import type { RequestOptions, Transport } from '../http.ts'
import type { AccountInfo } from '../types.ts'

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
