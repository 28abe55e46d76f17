/** The client. */

import { Connector } from './connector/connector.js'
import type { ConnectorDefinition } from './connector/definition.js'
import { validate } from './connector/desired.js'
import { Provisioner } from './connector/provisioner.js'
import { InvalidInputError } from './errors.js'
import { type Listener, Listeners, type SyncCompleteEvent, type SyncErrorEvent } from './events.js'
import { type Call, type Fetcher, type RetryOptions, Transport } from './http.js'
import { AccountResource } from './resources/account.js'
import { ConnectionsResource } from './resources/connections.js'
import { DestinationsResource } from './resources/destinations.js'
import { GroupsResource } from './resources/groups.js'
import { LogServicesResource } from './resources/log_services.js'
import { MetadataResource } from './resources/metadata.js'
import { RolesResource } from './resources/roles.js'
import { SystemKeysResource } from './resources/system_keys.js'
import { TeamsResource } from './resources/teams.js'
import { TransformationsResource } from './resources/transformations.js'
import { UsersResource } from './resources/users.js'
import { VaultResource } from './resources/vault.js'
import { WebhooksResource } from './resources/webhooks.js'

export interface FivetranOptions {
  /** The key pair. Not needed with a `fetcher` whose binding has `props = { caller = "owner" }`. */
  apiKey?: string | undefined
  apiSecret?: string | undefined
  /** Where your service is, for example `https://fivetran.example.workers.dev`. Not needed with `fetcher`. */
  baseUrl?: string
  /** A service binding to it: requests do not leave Cloudflare. */
  fetcher?: Fetcher
  /** Instead of the global `fetch`. */
  fetch?: typeof globalThis.fetch
  /** Your Worker's `env`: binding objects in definitions get their names from it. */
  env?: object
  /** Time limit of each try in milliseconds. Default 60,000: setup tests and schema reloads look at the source. */
  timeoutMs?: number
  retry?: RetryOptions
}

/** The host of requests through a service binding: a URL needs one, and nobody looks at it. */
const BINDING_URL = 'https://fivetran.internal'
const DEFAULT_TIMEOUT_MS = 60_000

/**
 * ```ts
 * const fivetran = new Fivetran({ apiKey, apiSecret, baseUrl })
 * const shop = fivetran.createConnector({
 *   id: 'shop',
 *   source: { type: 'postgres', url: process.env.DATABASE_URL },
 *   destination: { type: 'd1', database: 'ANALYTICS_DB' },
 *   sync: { schedule: 'every 15 minutes', mode: 'incremental' },
 * })
 * const { rowsSynced } = await shop.sync()
 * ```
 */
export class Fivetran {
  readonly account: AccountResource
  readonly groups: GroupsResource
  readonly destinations: DestinationsResource
  readonly connections: ConnectionsResource
  readonly metadata: MetadataResource
  readonly webhooks: WebhooksResource
  readonly logServices: LogServicesResource
  readonly transformations: TransformationsResource
  readonly users: UsersResource
  readonly teams: TeamsResource
  readonly roles: RolesResource
  readonly systemKeys: SystemKeysResource
  readonly vault: VaultResource
  readonly #transport: Transport
  readonly #provisioner: Provisioner
  readonly #completed = new Listeners<SyncCompleteEvent>()
  readonly #failed = new Listeners<SyncErrorEvent>()

  constructor(options: FivetranOptions) {
    const transport = transportFor(options)
    this.account = new AccountResource(transport)
    this.groups = new GroupsResource(transport)
    this.destinations = new DestinationsResource(transport)
    this.connections = new ConnectionsResource(transport)
    this.metadata = new MetadataResource(transport)
    this.webhooks = new WebhooksResource(transport)
    this.logServices = new LogServicesResource(transport)
    this.transformations = new TransformationsResource(transport)
    this.users = new UsersResource(transport)
    this.teams = new TeamsResource(transport)
    this.roles = new RolesResource(transport)
    this.systemKeys = new SystemKeysResource(transport)
    this.vault = new VaultResource(transport)
    this.#transport = transport
    this.#provisioner = new Provisioner(this, options.env)
  }

  /**
   * A pipeline as code. Returns at once and sends nothing: the connection is found or created by the first awaited call
   * of the handle. A definition that cannot be right throws here.
   */
  createConnector(definition: ConnectorDefinition): Connector {
    validate(definition)
    return new Connector(definition, {
      connections: this.connections,
      provisioner: this.#provisioner,
      completed: this.#completed,
      failed: this.#failed,
    })
  }

  /** A call that has no method here, with the client's authentication, retries and errors. Gives the answer's `data`. */
  request<T = unknown>(call: Call): Promise<T> {
    return this.#transport.send(call)
  }

  /** Calls `listener` after every sync that this client waited for and that succeeded. Returns the unsubscriber. */
  onSyncComplete(listener: Listener<SyncCompleteEvent>): () => void {
    return this.#completed.add(listener)
  }

  /** Calls `listener` after every sync of this client that failed, or could not be started. Returns the unsubscriber. */
  onSyncError(listener: Listener<SyncErrorEvent>): () => void {
    return this.#failed.add(listener)
  }
}

function transportFor(options: FivetranOptions): Transport {
  const { apiKey, apiSecret, baseUrl, fetcher, fetch } = options
  // A binding may need no key, but half of one is a mistake: most likely a variable that is not set.
  const keyless = fetcher !== undefined && apiKey === undefined && apiSecret === undefined
  if (!keyless && (!apiKey || !apiSecret)) {
    throw new InvalidInputError('apiKey and apiSecret are needed: `npm start` and `npm run deploy` print them.', {
      code: 'InvalidInput',
    })
  }
  if (baseUrl === undefined && fetcher === undefined) {
    throw new InvalidInputError('Give baseUrl (the address of your service) or fetcher (a service binding to it).', {
      code: 'InvalidInput',
    })
  }
  return new Transport({
    ...(apiKey && apiSecret && { key: { apiKey, apiSecret } }),
    baseUrl: trimmed(baseUrl ?? BINDING_URL),
    // Called as methods: workerd and browsers refuse a `fetch` that has lost its `this`.
    fetch: fetcher ? (url, init) => fetcher.fetch(url, init) : (url, init) => (fetch ?? globalThis.fetch)(url, init),
    timeoutMs: options.timeoutMs ?? DEFAULT_TIMEOUT_MS,
    retry: options.retry ?? {},
  })
}

/** Paths begin with `/v1`, so a base URL may be given with or without it, and with or without a slash at its end. */
function trimmed(baseUrl: string): string {
  const url = URL.canParse(baseUrl) ? new URL(baseUrl) : undefined
  if (url === undefined || !/^https?:$/.test(url.protocol)) {
    throw new InvalidInputError(`baseUrl: ${JSON.stringify(baseUrl)} is not an http or https URL.`, {
      code: 'InvalidInput',
    })
  }
  if (url.username !== '' || url.password !== '') {
    throw new InvalidInputError('baseUrl: pass the key and secret as apiKey and apiSecret, not in the URL.', {
      code: 'InvalidInput',
    })
  }
  return (url.origin + url.pathname).replace(/\/+$/, '').replace(/\/v1$/, '')
}
