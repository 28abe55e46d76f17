/** What listeners hear: the syncs that this client started and waited for. */

import type { FivetranError } from './errors.js'
import type { SyncResult } from './connector/run.js'

export interface SyncCompleteEvent extends SyncResult {
  connectorId: string
}

export interface SyncErrorEvent {
  connectorId: string
  /** Absent when the connection could not even be made. */
  connectionId: string | undefined
  error: FivetranError
}

export type Listener<E> = (event: E) => void | Promise<void>

export class Listeners<E> {
  readonly #listeners = new Set<Listener<E>>()

  /** Returns the function that takes the listener away again. */
  add(listener: Listener<E>): () => void {
    this.#listeners.add(listener)
    return () => {
      this.#listeners.delete(listener)
    }
  }

  /**
   * Calls the listeners and waits for them: in a Worker, what is not awaited may never run. A listener that fails does
   * not change the outcome of the sync it hears of; its error goes to the console.
   */
  async emit(event: E): Promise<void> {
    const outcomes = await Promise.allSettled([...this.#listeners].map(async (listener) => listener(event)))
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected') console.error('A sync listener failed:', outcome.reason)
    }
  }
}
