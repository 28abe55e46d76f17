/** What must be sent so that the service holds a desired configuration. */

import { type Config, MASKED } from '../types.js'
import { canonicalJson } from './desired.js'

export interface Difference {
  /** Fields that differ from what the service shows; null for those the definition no longer has. */
  changed: Config
  /** Fields with secrets: the service shows `******`, so whether they differ cannot be seen. */
  secret: Config
}

/** Fields of a configuration that name the connection: set when it is created, and never again. */
const NAMING = ['schema', 'schema_prefix']

export function difference(wanted: Config, current: Config): Difference {
  const changed: Config = {}
  const secret: Config = {}
  for (const [field, value] of Object.entries(wanted)) {
    const shown = current[field]
    if (isMasked(shown)) secret[field] = value
    else if (!same(value, shown)) changed[field] = value
  }
  for (const [field, shown] of Object.entries(current)) {
    const gone = !(field in wanted) && !NAMING.includes(field)
    if (gone && shown !== null) changed[field] = null
  }
  return { changed, secret }
}

/** Whether a secret is anywhere in the value. */
function isMasked(shown: unknown): boolean {
  if (typeof shown === 'object' && shown !== null) return Object.values(shown).some(isMasked)
  return shown === MASKED
}

/** The service keeps `"5432"` as 5432, and shows a field that was never set as null or not at all. */
function same(wanted: unknown, shown: unknown): boolean {
  if (wanted === null || wanted === undefined) return shown === null || shown === undefined
  if (typeof wanted === 'object' || typeof shown === 'object') return canonicalJson(wanted) === canonicalJson(shown)
  return String(wanted) === String(shown)
}
