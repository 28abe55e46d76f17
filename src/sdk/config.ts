/** Pipelines as code: what a `fivetran.config` file exports. */

import type { ConnectorDefinition } from './connector/definition.js'

export interface FivetranConfig {
  /** Your service. Default: where `fivetran login` was sent to, or `FIVETRAN_URL`. */
  baseUrl?: string
  connectors: ConnectorDefinition[]
}

/** Gives back what it is given; it is there for the types. */
export function defineConfig(config: FivetranConfig): FivetranConfig {
  return config
}
