/** Watching a run until it ends. */

import { sleep } from '../clock.js'
import { TimeoutError } from '../errors.js'
import type { RunProgress } from '../types.js'
import { hasEnded } from './run.js'

export interface WaitOptions {
  signal?: AbortSignal | undefined
  /** Longest time to wait, in milliseconds. Default: without limit. */
  timeoutMs?: number | undefined
  onChange?: ((run: RunProgress) => void) | undefined
}

/** Code of the `TimeoutError` when the waiting ended and the sync did not. */
export const STILL_RUNNING = 'SyncStillRunning'

/** The first looks are close together, so that a small sync is not waited for longer than it takes. */
const FIRST_DELAY_MS = 100
const LONGEST_DELAY_MS = 1_000
const GROWTH = 1.3

/** Looks at a run until it has ended. The run goes on when the waiting is aborted or takes too long. */
export async function waitForEnd(look: () => Promise<RunProgress>, options: WaitOptions): Promise<RunProgress> {
  const started = Date.now()
  let delay = FIRST_DELAY_MS
  for (;;) {
    const run = await look()
    options.onChange?.(run)
    if (hasEnded(run.state)) return run
    const left = (options.timeoutMs ?? Number.POSITIVE_INFINITY) - (Date.now() - started)
    if (left <= 0) {
      throw new TimeoutError(
        `Sync ${run.id} did not end within ${options.timeoutMs} ms. It goes on at the service; only the waiting ended.`,
        { code: STILL_RUNNING },
      )
    }
    await sleep(Math.min(delay, left), options.signal)
    delay = Math.min(LONGEST_DELAY_MS, delay * GROWTH)
  }
}
