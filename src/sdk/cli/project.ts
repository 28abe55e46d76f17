/** The configuration file of a project. */

import type { Fivetran } from '../client.js'
import type { FivetranConfig } from '../config.js'
import type { Connector } from '../connector/connector.js'
import type { ConnectorDefinition } from '../connector/definition.js'
import { InvalidInputError } from '../errors.js'
import { type Arguments, valueOf } from './arguments.js'
import { CommandError, type Host } from './host.js'

/** Looked for in this order. */
const NAMES = ['fivetran.config.ts', 'fivetran.config.mjs', 'fivetran.config.js']

export const TEMPLATE = `import { defineConfig } from '@dotdo/fivetran'

export default defineConfig({
  connectors: [
    {
      id: 'shop',
      // Secrets belong into the environment, not into this file.
      source: { type: 'postgres', url: process.env.DATABASE_URL },
      destination: { type: 'd1', database: 'ANALYTICS_DB' },
      sync: { schedule: 'every 15 minutes', mode: 'incremental' },
    },
  ],
})
`

/** Path of the configuration file, or undefined. */
export async function findProject(host: Host, args: Arguments): Promise<string | undefined> {
  const given = valueOf(args, 'config')
  if (given !== undefined) return given.startsWith('/') ? given : `${host.cwd}/${given}`
  for (const name of NAMES) if (await host.exists(`${host.cwd}/${name}`)) return `${host.cwd}/${name}`
  return undefined
}

async function load(host: Host, path: string): Promise<unknown> {
  try {
    return await host.load(path)
  } catch (error) {
    if (error instanceof CommandError || !(error instanceof Error)) throw error
    throw new CommandError(`${path} cannot be loaded: ${error.name}: ${error.message}`)
  }
}

/** The connector of a definition; an error says whose it is. */
export function connectorOf(fivetran: Fivetran, definition: ConnectorDefinition): Connector {
  try {
    return fivetran.createConnector(definition)
  } catch (error) {
    if (!(error instanceof InvalidInputError)) throw error
    throw new CommandError(`Connector ${definition.id}: ${error.message}`)
  }
}

/** The configuration, checked as far as its shape goes; `createConnector` checks the rest. */
export async function loadProject(host: Host, args: Arguments): Promise<FivetranConfig> {
  const path = await findProject(host, args)
  if (path === undefined) throw new CommandError(`There is no ${NAMES.join(', ')} in ${host.cwd}. Run: fivetran init`)
  if (!(await host.exists(path))) throw new CommandError(`There is no ${path}.`)
  const config = await load(host, path)
  const connectors = (config as FivetranConfig | undefined)?.connectors
  if (!Array.isArray(connectors)) {
    throw new CommandError(`${path}: export default defineConfig({ connectors: [ … ] }).`)
  }
  const ids = connectors.map((connector, at) => {
    if (typeof connector?.id === 'string') return connector.id
    throw new CommandError(`${path}: connectors[${at}] has no id.`)
  })
  const twice = ids.find((id, at) => ids.indexOf(id) !== at)
  if (twice !== undefined) throw new CommandError(`${path}: two connectors have the id ${twice}.`)
  return config as FivetranConfig
}
