/** The configuration file of a project. */

import type { FivetranConfig } from '../config.js'
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

/** The configuration, checked as far as its shape goes; `createConnector` checks the rest. */
export async function loadProject(host: Host, args: Arguments): Promise<FivetranConfig> {
  const path = await findProject(host, args)
  if (path === undefined) throw new CommandError(`There is no ${NAMES.join(', ')} in ${host.cwd}. Run: fivetran init`)
  if (!(await host.exists(path))) throw new CommandError(`There is no ${path}.`)
  const config = await host.load(path)
  const connectors = (config as FivetranConfig | undefined)?.connectors
  if (!Array.isArray(connectors)) {
    throw new CommandError(`${path}: export default defineConfig({ connectors: [ … ] }).`)
  }
  const ids = connectors.map(({ id }) => id)
  const twice = ids.find((id, at) => ids.indexOf(id) !== at)
  if (twice !== undefined) throw new CommandError(`${path}: two connectors have the id ${twice}.`)
  return config as FivetranConfig
}
