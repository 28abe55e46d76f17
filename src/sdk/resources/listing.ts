import type { Transport } from '../http.js'
import { type ListOptions, Listing } from '../pages.js'

/** A {@link Listing} over a collection's path. */
export function listing<T>(
  transport: Transport,
  path: string,
  options: ListOptions,
  filter: Record<string, string | undefined> = {},
): Listing<T> {
  const { limit, signal, timeoutMs } = options
  return new Listing<T>(
    (cursor) => transport.send({ method: 'GET', path, query: { ...filter, limit, cursor }, signal, timeoutMs }),
    options.cursor,
  )
}
