/** Makes the service hold what a definition says: finds by name, creates what is missing, changes what differs. */

import type { RequestOptions } from '../http.js'
import { ConflictError, InvalidInputError, NotFoundError, SetupTestsFailedError } from '../errors.js'
import type { ConnectionsResource } from '../resources/connections.js'
import type { DestinationsResource } from '../resources/destinations.js'
import type { GroupsResource } from '../resources/groups.js'
import type { MetadataResource } from '../resources/metadata.js'
import type { Config, Connection, ConnectionPatch, Destination, SetupTest } from '../types.js'
import type { ConnectorDefinition } from './definition.js'
import { type Desired, canonicalJson, desired } from './desired.js'
import { difference } from './difference.js'
import { definitionFields, differingFields, schemaField } from './fields.js'
import { KeyedLock } from './lock.js'
import { type ConnectorPlan, planFor, secretFields } from './plan.js'

interface Api {
  groups: GroupsResource
  destinations: DestinationsResource
  connections: ConnectionsResource
  metadata: MetadataResource
}

export class Provisioner {
  readonly #api: Api
  readonly #env: object | undefined
  readonly #locks = new KeyedLock()
  /** Group ids by name, once found. */
  readonly #groups = new Map<string, string>()
  /** Secrets sent by this client, by object id: sent again only when the definition changes. */
  readonly #sent = new Map<string, string>()
  /** Connector ids by group and schema: two ids must not end up as one connection. */
  readonly #claims = new Map<string, string>()

  constructor(api: Api, env: object | undefined) {
    this.#api = api
    this.#env = env
  }

  /** One definition at a time per id, so that concurrent calls of one client never make two connections. */
  ensure(definition: ConnectorDefinition, options: RequestOptions): Promise<Connection> {
    return this.#locks.run(`connector ${definition.id}`, async () => {
      const want = await desired(definition, this.#env)
      this.#claim(definition.id, want)
      const groupId = await this.#locks.run(`group ${want.group.name}`, () => this.#destination(want, options))
      return this.#connection(definition.id, want, groupId, options)
    })
  }

  /** The connection of a definition, without creating anything. */
  async find(definition: ConnectorDefinition, options: RequestOptions): Promise<Connection | undefined> {
    const want = await desired(definition, this.#env)
    const groupId = await this.#findGroup(want.group.name, options)
    return groupId === undefined ? undefined : this.#findConnection(groupId, want.connection.schema, options)
  }

  /** What {@link ensure} would do. Only reads; refuses what `ensure` would refuse before it changes anything. */
  async plan(definition: ConnectorDefinition, options: RequestOptions): Promise<ConnectorPlan> {
    const want = await desired(definition, this.#env)
    this.#claim(definition.id, want)
    const { schema, service } = want.connection
    const type = await this.#api.metadata.connectorType(service, options)
    const groupId = await this.#findGroup(want.group.name, options)
    const destination = groupId === undefined ? undefined : await this.#findDestination(groupId, options)
    if (destination !== undefined) mustBeOfKind(want, destination)
    const connection = groupId === undefined ? undefined : await this.#findConnection(groupId, schema, options)
    if (connection === undefined) await this.#mustNotBeElsewhere(definition.id, groupId, schema, service, options)
    else mustBeOfService(definition.id, service, connection)
    return planFor(definition.id, want, { groupId, destination, connection }, secretFields(type.config))
  }

  /** `a-b` and `a_b` give the same schema name, hence the same connection: refuse the second. */
  #claim(id: string, { group, connection }: Desired): void {
    const place = JSON.stringify([group.name, connection.schema])
    const owner = this.#claims.get(place) ?? id
    if (owner !== id) {
      throw new InvalidInputError(
        `Connectors ${owner} and ${id} would both be schema ${connection.schema} of the same destination. Give one of ` +
          'them another id or another `schema`.',
        { code: 'InvalidInput' },
      )
    }
    this.#claims.set(place, id)
  }

  /** Forgets what this client remembers of a connection: it was deleted. */
  forget(connectionId: string): void {
    this.#sent.delete(connectionId)
    this.#groups.clear()
  }

  async #findGroup(name: string, options: RequestOptions): Promise<string | undefined> {
    const known = this.#groups.get(name)
    if (known !== undefined) return known
    for await (const group of this.#api.groups.list({ limit: 1000, ...limits(options) })) {
      this.#groups.set(group.name, group.id)
    }
    return this.#groups.get(name)
  }

  async #group(name: string, options: RequestOptions): Promise<string> {
    const found = await this.#findGroup(name, options)
    if (found !== undefined) return found
    const created = await orOnConflict(
      async () => (await this.#api.groups.create({ name }, options)).id,
      () => this.#findGroup(name, options),
    )
    this.#groups.set(name, created)
    return created
  }

  /** The group's id, which is its destination's. */
  async #destination(want: Desired, options: RequestOptions): Promise<string> {
    const groupId = await this.#group(want.group.name, options)
    const { service, config } = want.destination
    const current = await this.#findDestination(groupId, options)
    if (current === undefined) {
      const created = await orOnConflict(
        () =>
          this.#api.destinations.create(
            { group_id: groupId, service, time_zone_offset: '0', config, run_setup_tests: true },
            options,
          ),
        () => this.#findDestination(groupId, options),
      )
      this.#remember(groupId, config)
      mustPass(nameOf(want), groupId, created.setup_tests)
      return groupId
    }
    mustBeOfKind(want, current)
    const { patch, test } = this.#patchFor(groupId, config, current.config)
    const run_setup_tests = test || current.setup_status !== 'CONNECTED'
    if (patch !== undefined || run_setup_tests) {
      const body = { ...(patch && { config: patch }), run_setup_tests }
      const patched = await this.#api.destinations.update(groupId, body, options)
      this.#remember(groupId, config)
      if (run_setup_tests) mustPass(nameOf(want), groupId, patched.setup_tests)
    }
    return groupId
  }

  async #findDestination(groupId: string, options: RequestOptions): Promise<Destination | undefined> {
    try {
      return await this.#api.destinations.get(groupId, options)
    } catch (error) {
      if (error instanceof NotFoundError) return undefined
      throw error
    }
  }

  async #findConnection(groupId: string, schema: string, options: RequestOptions): Promise<Connection | undefined> {
    const candidates = this.#api.connections.list({ groupId, schema, ...limits(options) })
    for await (const connection of candidates) {
      // Asked again here: a server that ignores a filter must not make us change somebody else's connection.
      if (connection.schema === schema && connection.group_id === groupId) return connection
    }
    return undefined
  }

  async #connection(id: string, want: Desired, groupId: string, options: RequestOptions): Promise<Connection> {
    const { schema, service, config } = want.connection
    const found = await this.#findConnection(groupId, schema, options)
    if (found !== undefined) return this.#update(id, want, found, options)
    await this.#mustNotBeElsewhere(id, groupId, schema, service, options)
    let created = true
    const connection = await orOnConflict(
      () => this.#create(want, groupId, options),
      () => {
        created = false
        return this.#findConnection(groupId, schema, options)
      },
    )
    if (!created) return this.#update(id, want, connection, options)
    this.#remember(connection.id, config)
    mustPass(`Connector ${id}`, connection.id, connection.setup_tests)
    return connection
  }

  #create(want: Desired, groupId: string, options: RequestOptions): Promise<Connection> {
    const { service, schema, config } = want.connection
    return this.#api.connections.create(
      {
        group_id: groupId,
        service,
        config: { ...config, [schemaField(service)]: schema },
        run_setup_tests: true,
        ...want.trust,
        ...definitionFields(want.connection),
      },
      options,
    )
  }

  /** A connection cannot move to another destination: say so, rather than leave the old one running beside a new one. */
  async #mustNotBeElsewhere(
    id: string,
    groupId: string | undefined,
    schema: string,
    service: string,
    options: RequestOptions,
  ): Promise<void> {
    for await (const other of this.#api.connections.list({ schema, ...limits(options) })) {
      if (other.schema !== schema || other.service !== service) continue
      // Somebody made it right here since it was looked for: creating it will meet a conflict, which finds theirs.
      if (other.group_id === groupId) continue
      throw new ConflictError(
        `Connector ${id} exists already with another destination (connection ${other.id} in group ` +
          `${other.group_id}), and a connection cannot move. Delete that one first, or choose another id.`,
        { code: 'Conflict' },
      )
    }
  }

  async #update(id: string, want: Desired, current: Connection, options: RequestOptions): Promise<Connection> {
    const { service, config } = want.connection
    mustBeOfService(id, service, current)
    const patch: ConnectionPatch = differingFields(current, want.connection)
    const { patch: configPatch, test } = this.#patchFor(current.id, config, current.config)
    if (configPatch !== undefined) patch.config = configPatch
    const run_setup_tests = test || current.status.setup_state !== 'connected'
    if (Object.keys(patch).length === 0 && !run_setup_tests) return current
    const sent = { ...patch, run_setup_tests, ...(run_setup_tests && want.trust) }
    const updated = await this.#api.connections.update(current.id, sent, options)
    this.#remember(current.id, config)
    if (run_setup_tests) mustPass(`Connector ${id}`, updated.id, updated.setup_tests)
    return updated
  }

  /**
   * What to send, and whether to run the setup tests on it. Secrets are sent once by each client, because whether they
   * changed cannot be seen; alone they are not worth a visit to the source each time a program starts.
   */
  #patchFor(objectId: string, wanted: Config, current: Config | null | undefined): { patch: Config | undefined; test: boolean } {
    const { changed, secret } = difference(wanted, current ?? {})
    const known = this.#sent.get(objectId)
    const now = canonicalJson(wanted)
    const patch = known === now ? changed : { ...changed, ...secret }
    const rotated = known !== undefined && known !== now && Object.keys(secret).length > 0
    const test = Object.keys(changed).length > 0 || rotated
    return { patch: Object.keys(patch).length === 0 ? undefined : patch, test }
  }

  #remember(objectId: string, config: Config): void {
    this.#sent.set(objectId, canonicalJson(config))
  }
}

/** What a listing takes of a request's options. */
function limits({ signal, timeoutMs }: RequestOptions): Pick<RequestOptions, 'signal' | 'timeoutMs'> {
  return { signal, timeoutMs }
}

/** Somebody else may create the same thing at the same time: then theirs is the one. */
async function orOnConflict<T>(create: () => Promise<T>, find: () => Promise<T | undefined>): Promise<T> {
  try {
    return await create()
  } catch (error) {
    if (!(error instanceof ConflictError)) throw error
    const found = await find()
    if (found === undefined) throw error
    return found
  }
}

function nameOf({ group, destination }: Desired): string {
  return `The ${destination.service} destination of group ${group.name}`
}

function mustBeOfKind({ group, destination }: Desired, current: Destination): void {
  if (current.service === destination.service) return
  throw new ConflictError(
    `Group ${group.name} holds a ${current.service} destination, not ${destination.service}: choose another ` +
      '`destination.group`.',
    { code: 'Conflict' },
  )
}

function mustBeOfService(id: string, service: string, current: Connection): void {
  if (current.service === service) return
  throw new ConflictError(
    `Connector ${id} is a ${current.service} connection at the service (${current.id}), not ${service}. Delete it ` +
      'first, or choose another id.',
    { code: 'Conflict' },
  )
}

function mustPass(what: string, id: string, tests: SetupTest[] | null | undefined): void {
  if (tests?.some((test) => test.status === 'FAILED')) {
    throw new SetupTestsFailedError(what, id, tests)
  }
}
