/** Receiving webhooks of the service: signatures are checked before anything is believed. */

import { FivetranError } from './errors.js'
import { type Listener, Listeners } from './events.js'

/** Hexadecimal HMAC-SHA256 of the raw body under the webhook's secret. */
export const SIGNATURE_HEADER = 'x-fivetran-signature-256'

/** What the service sends. Further events may come; receivers leave alone what they do not know. */
export interface WebhookEvent {
  /** For example `sync_start`, `sync_end`. */
  event: string
  /** When it happened, ISO 8601. */
  created: string
  connector_type?: string
  connector_id?: string
  connector_name?: string
  /** Id of the run. */
  sync_id?: string
  destination_group_id?: string
  data?: Record<string, unknown>
}

/** The event of a sync's end. */
export interface SyncEndEvent extends WebhookEvent {
  event: 'sync_end'
  data: { status: string; reason?: string } & Record<string, unknown>
}

/** The message does not come from the service, or was changed on its way. */
export class WebhookSignatureError extends FivetranError {}

/**
 * The event in a request, if its signature is right.
 *
 * @param body As it came: parsed and written again it would be other bytes.
 * @param signature Value of the {@link SIGNATURE_HEADER}; upper or lower case.
 * @throws WebhookSignatureError
 */
export async function verifyWebhook(body: string | Uint8Array, signature: string | null | undefined, secret: string): Promise<WebhookEvent> {
  const given = signatureBytes(signature ?? '')
  const bytes = new Uint8Array(typeof body === 'string' ? new TextEncoder().encode(body) : body)
  // An empty secret is one that is missing: everybody could sign with it.
  if (secret === '' || given === undefined || !(await matches(bytes, given, secret))) {
    throw new WebhookSignatureError('The signature of the webhook is missing or wrong.', { code: 'WebhookSignature', status: 401 })
  }
  const event: unknown = parsed(new TextDecoder().decode(bytes))
  if (typeof event !== 'object' || event === null || typeof (event as WebhookEvent).event !== 'string') {
    throw new WebhookSignatureError('The webhook is signed, but it is not an event.', { code: 'WebhookBody', status: 400 })
  }
  return event as WebhookEvent
}

/**
 * Answers webhook requests and calls listeners.
 *
 * ```ts
 * const webhooks = new Webhooks({ secret: env.WEBHOOK_SECRET })
 * webhooks.onSyncError(({ connector_name, data }) => console.error(connector_name, data.reason))
 * export default { fetch: (request) => webhooks.handle(request) }
 * ```
 */
export class Webhooks {
  readonly #secret: string
  readonly #all = new Listeners<WebhookEvent>()
  readonly #completed = new Listeners<SyncEndEvent>()
  readonly #failed = new Listeners<SyncEndEvent>()

  constructor(options: { secret: string }) {
    this.#secret = options.secret
  }

  /** Every event. Returns the unsubscriber, as the others do. */
  onEvent(listener: Listener<WebhookEvent>): () => void {
    return this.#all.add(listener)
  }

  /** Syncs that succeeded, whoever started them. */
  onSyncComplete(listener: Listener<SyncEndEvent>): () => void {
    return this.#completed.add(listener)
  }

  /** Syncs that failed. Cancelled and rescheduled ones are neither complete nor failed: see {@link onEvent}. */
  onSyncError(listener: Listener<SyncEndEvent>): () => void {
    return this.#failed.add(listener)
  }

  /** Checks, tells the listeners and answers: 204, or 401, 400 and 405 for what is no webhook of the service. */
  async handle(request: Request): Promise<Response> {
    if (request.method !== 'POST') return new Response(null, { status: 405, headers: { allow: 'POST' } })
    try {
      await this.receive(new Uint8Array(await request.arrayBuffer()), request.headers.get(SIGNATURE_HEADER))
    } catch (error) {
      if (!(error instanceof WebhookSignatureError)) throw error
      return new Response(error.message, { status: error.status ?? 401 })
    }
    return new Response(null, { status: 204 })
  }

  /** The same for servers without `Request`: the raw body and the header. */
  async receive(body: string | Uint8Array, signature: string | null | undefined): Promise<WebhookEvent> {
    const event = await verifyWebhook(body, signature, this.#secret)
    await this.#all.emit(event)
    if (isSyncEnd(event)) {
      const { status } = event.data
      if (status === 'SUCCESSFUL') await this.#completed.emit(event)
      else if (status.startsWith('FAIL')) await this.#failed.emit(event)
    }
    return event
  }
}

function isSyncEnd(event: WebhookEvent): event is SyncEndEvent {
  return event.event === 'sync_end' && typeof event.data?.['status'] === 'string'
}

/** Compared by WebCrypto itself, which takes the same time wherever the first difference is. */
async function matches(body: Uint8Array<ArrayBuffer>, signature: Uint8Array<ArrayBuffer>, secret: string): Promise<boolean> {
  const algorithm = { name: 'HMAC', hash: 'SHA-256' }
  const key = await crypto.subtle.importKey('raw', new TextEncoder().encode(secret), algorithm, false, ['verify'])
  return crypto.subtle.verify('HMAC', key, signature, body)
}

/** 32 bytes of hexadecimal, or undefined. */
function signatureBytes(text: string): Uint8Array<ArrayBuffer> | undefined {
  if (!/^[0-9a-f]{64}$/i.test(text)) return undefined
  return Uint8Array.from({ length: 32 }, (_, at) => Number.parseInt(text.slice(at * 2, at * 2 + 2), 16))
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
