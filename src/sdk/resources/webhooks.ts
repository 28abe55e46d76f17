import { type RequestOptions, type Transport, path } from '../http.js'
import type { ListOptions, Listing } from '../pages.js'
import type { NewWebhook, Webhook, WebhookDelivery, WebhookPatch, WebhookTest } from '../types.js'
import { listing } from './listing.js'

/** Who is told what happens. What they receive is checked by {@link import('../webhooks.js').Webhooks}. */
export class WebhooksResource {
  readonly #transport: Transport

  constructor(transport: Transport) {
    this.#transport = transport
  }

  list(options: ListOptions = {}): Listing<Webhook> {
    return listing(this.#transport, '/v1/webhooks', options)
  }

  get(id: string, options: RequestOptions = {}): Promise<Webhook> {
    return this.#transport.send({ ...options, method: 'GET', path: path`/v1/webhooks/${id}` })
  }

  /**
   * A webhook of the account, or of one group. The URL is probed, unless `active` is false, and refused if it does not
   * answer.
   */
  create(webhook: NewWebhook, options: RequestOptions & { groupId?: string } = {}): Promise<Webhook> {
    const { groupId, ...rest } = options
    const url = groupId === undefined ? '/v1/webhooks/account' : path`/v1/webhooks/group/${groupId}`
    return this.#transport.send({ ...rest, method: 'POST', path: url, body: webhook })
  }

  update(id: string, patch: WebhookPatch, options: RequestOptions = {}): Promise<Webhook> {
    return this.#transport.send({ ...options, method: 'PATCH', path: path`/v1/webhooks/${id}`, body: patch })
  }

  delete(id: string, options: RequestOptions = {}): Promise<void> {
    return this.#transport.send({ ...options, method: 'DELETE', path: path`/v1/webhooks/${id}` })
  }

  /** Sends a made-up event. A receiver that refuses it is no error: see `succeed`. */
  test(id: string, event: string, options: RequestOptions = {}): Promise<WebhookTest> {
    return this.#transport.send({ ...options, method: 'POST', path: path`/v1/webhooks/${id}/test`, body: { event } })
  }

  /** What was and is to be delivered, the oldest event first. */
  deliveries(id: string, options: ListOptions = {}): Listing<WebhookDelivery> {
    return listing(this.#transport, path`/v1/webhooks/${id}/deliveries`, options)
  }
}
