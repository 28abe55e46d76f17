/** One request to the service: authentication, envelope, retries, time limits. Every resource goes through here. */

import { deadline, sleep } from './clock.js'
import {
  AuthenticationError,
  ConflictError,
  FivetranError,
  InvalidInputError,
  NetworkError,
  RateLimitError,
  ServerError,
  TimeoutError,
  errorForStatus,
} from './errors.js'

/** A service binding (`env.FIVETRAN`), or anything else that answers requests. */
export interface Fetcher {
  fetch(input: string, init?: RequestInit): Promise<Response>
}

/** How often and how long a request is tried again. */
export interface RetryOptions {
  /** Tries after the first. Default 3; 0 switches retries off. */
  retries?: number
  /** Delay before the first retry in milliseconds; doubles each time, with jitter. Default 250. */
  initialDelayMs?: number
  /** Longest delay in milliseconds. A longer `Retry-After` is not waited for: the error says how long. Default 30,000. */
  maxDelayMs?: number
}

/** Options every call takes. */
export interface RequestOptions {
  /** Aborts the call: it rejects with `signal.reason`. */
  signal?: AbortSignal | undefined
  /** Time limit of each try in milliseconds. */
  timeoutMs?: number | undefined
  /**
   * Of a POST: sent again under the same key within 24 hours, it is answered as the first time and not done again. Made
   * up for each call where absent, so that the tries of one call are one creation; give one that your own repetitions
   * share, across processes, too.
   */
  idempotencyKey?: string | undefined
}

export interface TransportOptions {
  /** Absent where the service binding vouches for the caller. */
  key?: { apiKey: string; apiSecret: string }
  baseUrl: string
  fetch: (input: string, init: RequestInit) => Promise<Response>
  timeoutMs: number
  retry: RetryOptions
}

/** A call of the API. */
export interface Call extends RequestOptions {
  method: 'GET' | 'POST' | 'PATCH' | 'DELETE'
  /** Path below the base URL, its variable parts already escaped with {@link path}. */
  path: string
  query?: Record<string, string | number | boolean | undefined>
  body?: unknown
  /** Of a POST: doing it twice is as good as once, so it needs no idempotency key. */
  idempotent?: boolean
}

interface Envelope {
  code?: unknown
  message?: unknown
  data?: unknown
}

/** Escapes the variable parts of a path: ids and table names may hold any character. */
export function path(strings: TemplateStringsArray, ...values: string[]): string {
  return strings.reduce((text, part, index) => {
    if (index === 0) return part
    const value = values[index - 1] ?? ''
    // An empty part would address the collection: DELETE /connections/ is not what anybody meant.
    if (value === '' || value === '.' || value === '..') {
      throw new InvalidInputError(`${JSON.stringify(value)} is not a usable id or name.`, { code: 'InvalidInput' })
    }
    return text + encodeURIComponent(value) + part
  }, '')
}

export class Transport {
  readonly #options: TransportOptions
  readonly #authorization: string | undefined

  constructor(options: TransportOptions) {
    this.#options = options
    const { key } = options
    this.#authorization = key && `Basic ${base64(`${key.apiKey}:${key.apiSecret}`)}`
  }

  /** Sends a call and returns the envelope's `data` (undefined for actions that return none). */
  async send<T>(call: Call): Promise<T> {
    const retries = this.#options.retry.retries ?? 3
    const key = call.idempotencyKey ?? (call.method === 'POST' && !call.idempotent ? randomKey() : undefined)
    for (let attempt = 0; ; attempt += 1) {
      try {
        return (await this.#once(call, key)) as T
      } catch (error) {
        const delay = attempt < retries ? this.#delayBefore(attempt, error) : undefined
        if (delay === undefined) throw error
        await sleep(delay, call.signal)
      }
    }
  }

  async #once(call: Call, key: string | undefined): Promise<unknown> {
    const timeoutMs = call.timeoutMs ?? this.#options.timeoutMs
    const request = `${call.method} ${call.path}`
    const limit = deadline(timeoutMs, call.signal)
    try {
      const response = await this.#options.fetch(this.#url(call), this.#init(call, key, limit.signal))
      return await readEnvelope(response, request)
    } catch (error) {
      if (call.signal?.aborted) throw call.signal.reason
      if (limit.timedOut()) {
        throw new TimeoutError(`No answer within ${timeoutMs} ms.`, { code: 'Timeout', request, cause: error })
      }
      if (error instanceof AuthenticationError && this.#authorization === undefined) throw unvouched(error)
      if (error instanceof FivetranError) throw error
      const reason = error instanceof Error ? error.message : String(error)
      throw new NetworkError(`The service at ${this.#options.baseUrl} could not be reached: ${reason}`, {
        code: 'Network',
        request,
        cause: error,
      })
    } finally {
      limit.release()
    }
  }

  #url(call: Call): string {
    const query = new URLSearchParams()
    for (const [name, value] of Object.entries(call.query ?? {})) {
      if (value !== undefined) query.set(name, String(value))
    }
    const text = query.toString()
    return this.#options.baseUrl + call.path + (text === '' ? '' : `?${text}`)
  }

  #init(call: Call, key: string | undefined, signal: AbortSignal): RequestInit {
    const headers: Record<string, string> = { accept: 'application/json;version=2' }
    if (this.#authorization !== undefined) headers['authorization'] = this.#authorization
    if (key !== undefined) headers['idempotency-key'] = key
    const init: RequestInit = { method: call.method, headers, signal }
    if (call.body !== undefined) {
      headers['content-type'] = 'application/json'
      init.body = JSON.stringify(call.body)
    }
    return init
  }

  /**
   * Milliseconds until the next try, or undefined when there must be none. Whether the last one was carried out need not
   * be known: either twice is as good as once, or the service knows the repetition by its key.
   */
  #delayBefore(attempt: number, error: unknown): number | undefined {
    const { initialDelayMs = 250, maxDelayMs = 30_000 } = this.#options.retry
    const backOff = Math.min(maxDelayMs, initialDelayMs * 2 ** attempt) * (0.5 + Math.random() / 2)
    if (error instanceof RateLimitError) {
      const asked = error.retryAfterMs
      if (asked === undefined) return backOff
      return asked > maxDelayMs ? undefined : asked + Math.random() * initialDelayMs
    }
    // An earlier try of this call is still being served; its answer will be this one's.
    if (error instanceof ConflictError && error.code === 'IdempotencyKeyInUse') return Math.max(1000, backOff)
    const unsure = error instanceof NetworkError || error instanceof TimeoutError
    const transient = error instanceof ServerError && error.status !== 501
    return unsure || transient ? backOff : undefined
  }
}

async function readEnvelope(response: Response, request: string): Promise<unknown> {
  const requestId = response.headers.get('x-request-id') ?? undefined
  const text = await response.text()
  const envelope = parseEnvelope(text)
  const context = {
    status: response.status,
    code: typeof envelope?.code === 'string' ? envelope.code : undefined,
    requestId,
    request,
  }
  if (!response.ok) {
    const message =
      typeof envelope?.message === 'string' && envelope.message !== ''
        ? envelope.message
        : `The service answered ${response.status} without a message.`
    throw errorForStatus(message, { ...context, retryAfterMs: retryAfter(response.headers.get('retry-after')) })
  }
  if (envelope === undefined && text !== '') {
    throw new NetworkError('The answer is not JSON: is the base URL that of a fivetran.do service?', {
      ...context,
      code: 'NotJson',
    })
  }
  return envelope?.data
}

function unvouched({ status, code, requestId, request }: AuthenticationError): AuthenticationError {
  return new AuthenticationError(
    'The service does not know who asks: the service binding vouches for nobody. Give it props = { caller = "owner" } in ' +
      'the configuration of this Worker, or pass apiKey and apiSecret.',
    { status, code, requestId, request },
  )
}

function parseEnvelope(text: string): Envelope | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? value : undefined
  } catch {
    return undefined
  }
}

/** 128 random bits. Not `crypto.randomUUID`, which browsers have on https pages only. */
function randomKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16))
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
}

/** `Retry-After` in milliseconds: seconds or an HTTP date (RFC 9110, section 10.2.3). */
function retryAfter(header: string | null): number | undefined {
  if (header === null) return undefined
  const seconds = Number(header)
  if (Number.isFinite(seconds)) return Math.max(0, seconds * 1000)
  const date = Date.parse(header)
  return Number.isNaN(date) ? undefined : Math.max(0, date - Date.now())
}

/** Base64 of the UTF-8 form; `btoa` alone refuses characters beyond Latin-1. */
function base64(text: string): string {
  let binary = ''
  for (const byte of new TextEncoder().encode(text)) binary += String.fromCharCode(byte)
  return btoa(binary)
}
