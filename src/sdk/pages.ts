/** Collections that the service hands out in pages. */

/** One page as the service sends it. */
export interface Page<T> {
  items: T[]
  next_cursor?: string | null
}

/** What every list call takes. */
export interface ListOptions {
  /** Rows per page, 1 to 1000. Default 100. */
  limit?: number | undefined
  /** Where to start: a `next_cursor` of an earlier page. */
  cursor?: string | undefined
  signal?: AbortSignal | undefined
  /** Time limit of each try of each page in milliseconds. */
  timeoutMs?: number | undefined
}

/**
 * A list call: iterate it and pages are fetched as you go, or take one page or everything.
 *
 * ```ts
 * for await (const connection of fivetran.connections.list()) console.log(connection.id)
 * ```
 */
export class Listing<T> implements AsyncIterable<T> {
  readonly #fetch: (cursor: string | undefined) => Promise<Page<T>>
  readonly #start: string | undefined

  constructor(fetch: (cursor: string | undefined) => Promise<Page<T>>, start?: string) {
    this.#fetch = fetch
    this.#start = start
  }

  /** The first page. */
  page(): Promise<Page<T>> {
    return this.#fetch(this.#start)
  }

  /** Page by page. */
  async *pages(): AsyncGenerator<Page<T>, void, undefined> {
    let cursor = this.#start
    do {
      const page = await this.#fetch(cursor)
      yield page
      cursor = page.next_cursor ?? undefined
    } while (cursor !== undefined)
  }

  /** Item by item. */
  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    for await (const page of this.pages()) yield* page.items
  }

  /** Everything, or the first `max` items. */
  async all(max = Number.POSITIVE_INFINITY): Promise<T[]> {
    const items: T[] = []
    if (max <= 0) return items
    for await (const item of this) {
      items.push(item)
      if (items.length >= max) break
    }
    return items
  }
}
