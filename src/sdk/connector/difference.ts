/** What must be sent so that the service holds a desired configuration. */

import { type Config, MASKED } from '../types.ts'
import { canonicalJson } from './desired.ts'

export interface Difference {
  /** Fields that differ from what the service shows. */
  changed: Config
  /** Secrets: the service shows `******`, so whether they differ cannot be seen. */
  secret: Config
}

export function difference(wanted: Config, current: Config | undefined): Difference {
  const changed: Config = {}
  const secret: Config = {}
  for (const [field, value] of Object.entries(wanted)) {
    const shown = current?.[field]
    if (shown === MASKED) secret[field] = value
    else if (!same(value, shown)) changed[field] = value
  }
  return { changed, secret }
}

/** The service keeps `"5432"` as 5432 and shows a field that was never set as null or not at all. */
function same(wanted: unknown, shown: unknown): boolean {
  if (wanted === null || wanted === undefined) return shown === null || shown === undefined
  if (typeof wanted === 'object' || typeof shown === 'object') return canonicalJson(wanted) === canonicalJson(shown)
  return String(wanted) === String(shown)
}
