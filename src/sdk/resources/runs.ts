import { type RequestOptions, type Transport, path } from '../http.js'
import type { ListOptions, Listing } from '../pages.js'
import type { Run, RunProgress } from '../types.js'
import { listing } from './listing.js'

/** The syncs of a connection. */
export class RunsResource {
  readonly #transport: Transport

  constructor(transport: Transport) {
    this.#transport = transport
  }

  /** Oldest first. */
  list(connectionId: string, options: ListOptions = {}): Listing<Run> {
    return listing(this.#transport, path`/v1/connections/${connectionId}/runs`, options)
  }

  /** One run with its tables. */
  get(connectionId: string, runId: string, options: RequestOptions = {}): Promise<Run> {
    return this.#transport.send({
      ...options,
      method: 'GET',
      path: path`/v1/connections/${connectionId}/runs/${runId}`,
    })
  }

  /** The running sync, or the last one, as it is at this moment; undefined before the first. */
  async progress(connectionId: string, options: RequestOptions = {}): Promise<RunProgress | undefined> {
    const answer = await this.#transport.send<{ run?: RunProgress | null }>({
      ...options,
      method: 'GET',
      path: path`/v1/connections/${connectionId}/progress`,
    })
    return answer.run ?? undefined
  }
}
