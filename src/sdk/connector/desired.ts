/** From a definition to what the service must hold for it. Pure, but for the digest. */

import { InvalidInputError, NotSupportedError } from '../errors.js'
import type { Config } from '../types.js'
import { bindingName } from './bindings.js'
import type { Binding, ConnectorDefinition, D1Destination, DestinationDefinition, R2Destination } from './definition.js'

/** What must exist. Field names and shapes are the API's. */
export interface Desired {
  group: { name: string }
  destination: { service: string; config: Config }
  connection: {
    service: string
    schema: string
    /** Without `schema`/`schema_prefix`, which name the connection and never change. */
    config: Config
    schedule: string | undefined
    syncMode: string | undefined
    paused: boolean | undefined
  }
  /** Whether to approve the source's certificate at first sight. */
  trust: { trust_certificates?: true }
}

/** Characters in the name of a schema at the service. */
const MAX_SCHEMA_NAME = 63

/** Checks a definition. Everything that needs no network is said here, when the connector is created. */
export function validate(definition: ConnectorDefinition): void {
  const { id, source, destination, transform } = definition
  check(typeof id === 'string' && /[a-z0-9]/i.test(id), 'id: give the connector an id with at least one letter or digit.')
  const schema = definition.schema ?? schemaName(id)
  check(
    schema.length <= MAX_SCHEMA_NAME,
    `id: ${schema} is longer than the ${MAX_SCHEMA_NAME} characters a schema name may have. Set \`schema\` to a shorter one.`,
  )
  check(typeof source?.type === 'string' && source.type !== '', "source.type: name the source, for example 'postgres'.")
  check(
    typeof destination?.type === 'string' && destination.type !== '',
    "destination.type: name the destination, for example 'd1' or 'r2'.",
  )
  if (transform !== undefined) {
    throw new NotSupportedError(
      'transform: transforms are not supported yet. Remove `transform`; nothing was created or changed.',
      { code: 'NotSupported' },
    )
  }
}

/** What the service must hold for a definition. */
export async function desired(definition: ConnectorDefinition, env: object | undefined): Promise<Desired> {
  const { source, destination, sync } = definition
  const target = destinationConfig(destination, env)
  return {
    group: { name: destination.group ?? (await groupName(destination.type, target)) },
    destination: { service: destination.type, config: { ...target.identity, ...target.rest } },
    connection: {
      service: source.type,
      schema: definition.schema ?? schemaName(definition.id),
      config: sourceConfig(source as Record<string, unknown>, env),
      schedule: sync?.schedule,
      syncMode: sync?.mode,
      paused: sync?.paused,
    },
    trust: definition.trustCertificates === true ? { trust_certificates: true } : {},
  }
}

/** The id as a schema name: lower case, anything but letters, digits and `_` becomes `_`, never a digit first. */
export function schemaName(id: string): string {
  const name = id.toLowerCase().replaceAll(/[^a-z0-9_]+/g, '_')
  return /^[0-9]/.test(name) ? `_${name}` : name
}

interface Target {
  /** What makes it this destination and no other. */
  identity: Config
  /** What may change without making it another: credentials. */
  rest: Config
}

function destinationConfig(destination: DestinationDefinition, env: object | undefined): Target {
  if (destination.type === 'd1') return d1Config(destination as D1Destination, env)
  if (destination.type === 'r2') return r2Config(destination as R2Destination, env)
  const { type: _, group: __, credentials, ...fields } = destination as Record<string, unknown>
  return { identity: snakeCaseKeys(fields), rest: snakeCaseKeys(asRecord(credentials)) }
}

function d1Config({ database }: D1Destination, env: object | undefined): Target {
  check(
    database !== undefined && database !== null && database !== '',
    'destination.database: pass a D1 binding, its name, or { databaseId, accountId, apiToken }.',
  )
  if (typeof database === 'object' && 'databaseId' in database) {
    const { databaseId, accountId, apiToken } = database as Record<string, unknown>
    return { identity: { database_id: databaseId, account_id: accountId }, rest: { api_token: apiToken } }
  }
  return { identity: { binding: bindingName(database as Binding, env, 'destination.database') }, rest: {} }
}

function r2Config({ bucket, prefix, format, compression }: R2Destination, env: object | undefined): Target {
  check(
    bucket !== undefined && bucket !== null && bucket !== '',
    'destination.bucket: pass an R2 binding or its name.',
  )
  const identity = { bucket: bindingName(bucket, env, 'destination.bucket'), prefix, format, compression }
  return { identity: withoutUndefined(identity), rest: {} }
}

function sourceConfig(source: Record<string, unknown>, env: object | undefined): Config {
  const { type: _, credentials, ...fields } = source
  const config = { ...snakeCaseKeys(fields), ...snakeCaseKeys(asRecord(credentials)) }
  if (config['hyperdrive'] !== undefined) {
    config['hyperdrive'] = bindingName(config['hyperdrive'] as Binding, env, 'source.hyperdrive')
  }
  return config
}

/**
 * A name that is the same for the same destination, wherever it is computed, and different for different ones: two
 * connectors into one database share its group, and a database called `a-b` does not end up in the group of `a_b`.
 */
async function groupName(type: string, { identity }: Target): Promise<string> {
  const canonical = canonicalJson({ type, ...identity })
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(canonical))
  const hex = Array.from(new Uint8Array(digest).subarray(0, 4), (byte) => byte.toString(16).padStart(2, '0')).join('')
  const readable = [identity['binding'], identity['bucket'], identity['prefix']]
    .filter((part) => typeof part === 'string' && part !== '')
    .join('_')
  return schemaName([type, readable, hex].filter((part) => part !== '').join('_'))
}

/** JSON with sorted keys, so that equal values give equal text. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  )
}

/** `numericAsText` → `numeric_as_text`, for the field names only: the keys inside a value are the user's data. */
function snakeCaseKeys(fields: Record<string, unknown>): Config {
  const entries = Object.entries(withoutUndefined(fields))
  return Object.fromEntries(
    entries.map(([key, value]) => [key.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`), value]),
  )
}

function withoutUndefined(fields: Record<string, unknown>): Config {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))
}

function asRecord(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
}

function check(condition: boolean, message: string): asserts condition {
  if (!condition) throw new InvalidInputError(message, { code: 'InvalidInput' })
}
