/** `plan` and `apply`: what differs between the configuration file and the service, and making it not differ. */

import type { Fivetran } from '../client.js'
import type { FivetranConfig } from '../config.js'
import type { Connector } from '../connector/connector.js'
import type { ConnectorPlan, PlannedChange } from '../connector/plan.js'
import type { Connection } from '../types.js'
import { type Arguments, mustStandAlone } from './arguments.js'
import { CommandError, type Host } from './host.js'
import { connect } from './session.js'
import { connectorOf, loadProject } from './project.js'

/** Exit code of `plan --check` when there is something to do. */
const PENDING = 2

interface Plan {
  connectors: { connector: Connector; plan: ConnectorPlan }[]
  /** Connections at the destinations of the configuration that it does not mention. */
  surplus: Connection[]
}

export async function plan(host: Host, args: Arguments): Promise<number> {
  mustStandAlone(args)
  const config = await loadProject(host, args)
  const made = await makePlan(await connect(host, args, config), config)
  const prune = args.flags.has('prune')
  if (args.flags.has('json')) host.out(JSON.stringify(asJson(made, prune), undefined, 2))
  else show(host, made, prune)
  return args.flags.has('check') && pending(made, prune) > 0 ? PENDING : 0
}

export async function apply(host: Host, args: Arguments): Promise<number> {
  mustStandAlone(args)
  const config = await loadProject(host, args)
  const fivetran = await connect(host, args, config)
  const made = await makePlan(fivetran, config)
  const prune = args.flags.has('prune')
  show(host, made, prune)
  if (pending(made, prune) > 0) await agree(host, args)
  // Also those without a change: their secrets cannot be compared, and may have been replaced.
  for (const { connector, plan } of made.connectors) {
    const { id, status } = await connector.ensure()
    if (plan.action !== 'none') host.out(`${connector.id}: ${plan.action === 'create' ? 'created' : 'updated'} (${id}, ${status.setup_state})`)
  }
  for (const { id, schema } of prune ? made.surplus : []) {
    await fivetran.connections.delete(id)
    host.out(`${schema}: deleted (${id}); its data stays`)
  }
  return 0
}

async function agree(host: Host, args: Arguments): Promise<void> {
  if (args.flags.has('yes')) return
  if (!host.isTerminal) throw new CommandError('Nobody is there to agree. Run with --yes to apply this plan.')
  const answer = await host.ask('Apply? [y/N] ')
  if (!/^y(es)?$/i.test(answer.trim())) throw new CommandError('Nothing was changed.')
}

async function makePlan(fivetran: Fivetran, config: FivetranConfig): Promise<Plan> {
  const connectors = []
  // One after the other: two connectors with the same new destination must not both look for it at once.
  for (const definition of config.connectors) {
    const connector = connectorOf(fivetran, definition)
    connectors.push({ connector, plan: await connector.plan() })
  }
  const known = new Set(connectors.map(({ plan }) => plan.connectionId))
  const surplus = []
  for (const groupId of new Set(connectors.map(({ plan }) => plan.groupId))) {
    if (groupId === undefined) continue
    for await (const connection of fivetran.connections.list({ groupId })) {
      if (!known.has(connection.id)) surplus.push(connection)
    }
  }
  return { connectors, surplus }
}

const withAction = ({ connectors }: Plan, action: ConnectorPlan['action']) =>
  connectors.filter(({ plan }) => plan.action === action)

const pending = (made: Plan, prune: boolean) =>
  withAction(made, 'create').length + withAction(made, 'update').length + (prune ? made.surplus.length : 0)

const SIGN = { create: '+', update: '~', none: '=' }

function show(host: Host, made: Plan, prune: boolean): void {
  for (const { plan } of made.connectors) {
    host.out(`${SIGN[plan.action]} ${plan.id}${plan.action === 'none' ? '' : `: ${plan.action}`}`)
    for (const change of plan.changes) host.out(`    ${line(change)}`)
  }
  for (const { id, schema } of made.surplus) {
    host.out(prune ? `- ${schema}: delete (${id})` : `  ${schema} (${id}) is not in the configuration; --prune deletes it`)
  }
  const [creates, updates, same] = [withAction(made, 'create'), withAction(made, 'update'), withAction(made, 'none')]
  const deletes = prune ? made.surplus.length : 0
  host.out(`${creates.length} to create, ${updates.length} to update, ${deletes} to delete, ${same.length} unchanged`)
}

function line({ field, from, to }: PlannedChange): string {
  if (from === undefined) return `${field}: ${text(to)}`
  return `${field}: ${text(from)} → ${to === undefined ? '(removed)' : text(to)}`
}

const text = (value: unknown) => (typeof value === 'string' ? value : JSON.stringify(value))

const asJson = (made: Plan, prune: boolean) => ({
  connectors: made.connectors.map(({ plan }) => plan),
  delete: prune ? made.surplus.map(({ id, schema }) => ({ id, schema })) : [],
})
