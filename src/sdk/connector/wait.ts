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

/** A run is opened before the service answers, so this long is only for a service in trouble. */
const START_LIMIT_MS = 30_000

/**
 * The run that a start request opened, or joined. The service's answer does not name it, so it is told by what ran
 * `before`: another run is the one, and so is the same if it was live and the request joins what is live.
 */
export async function waitForStart(
  look: () => Promise<RunProgress | undefined>,
  before: RunProgress | undefined,
  joins: boolean,
  signal: AbortSignal | undefined,
): Promise<RunProgress> {
  const joinable = joins && before !== undefined && !hasEnded(before.state)
  const started = Date.now()
  for (;;) {
    const run = await look()
    if (run !== undefined && (run.id !== before?.id || joinable)) return run
    if (Date.now() - started > START_LIMIT_MS) {
      throw new TimeoutError('The service accepted the sync and has not begun it. Look at the logs of the connection.', {
        code: 'SyncNotStarted',
      })
    }
    await sleep(LONGEST_DELAY_MS / 4, signal)
  }
}

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
