/** Errors of the SDK. Catch {@link FivetranError} for all of them, a subclass for one case. */

import type { ProgressTable, RunState, SetupTest, Task } from './types.js'

/** What is known about the answer an error was made from. */
export interface ErrorContext {
  /** HTTP status; absent when no answer came. */
  status?: number | undefined
  /** Machine-readable code of the service, for example `NotFound_Connection`. */
  code?: string | undefined
  /** `X-Request-Id` of the answer: quote it when you ask for help. */
  requestId?: string | undefined
  /** `GET /v1/connections/…`, without the query. */
  request?: string | undefined
  /** What the failure was caused by. */
  cause?: unknown
}

/** Base of every error the SDK throws, aborts by your own `AbortSignal` excepted (those throw `signal.reason`). */
export class FivetranError extends Error {
  readonly status: number | undefined
  readonly code: string
  readonly requestId: string | undefined
  readonly request: string | undefined

  constructor(message: string, context: ErrorContext = {}) {
    super(message, context.cause === undefined ? undefined : { cause: context.cause })
    this.name = new.target.name
    this.status = context.status
    this.code = context.code ?? 'Unknown'
    this.requestId = context.requestId
    this.request = context.request
  }
}

/** 401: the API key or secret is wrong or missing. */
export class AuthenticationError extends FivetranError {}
/** 403: the key is valid but may not do this. */
export class PermissionError extends FivetranError {}
/** 404: no such object. */
export class NotFoundError extends FivetranError {}
/** 409: exists already, or its state forbids the action. */
export class ConflictError extends FivetranError {}
/** Any other 4xx: the message names the field and the remedy. Also thrown before a request when a definition is wrong. */
export class InvalidInputError extends FivetranError {}
/** 5xx, after the retries. */
export class ServerError extends FivetranError {}
/** No answer: connection refused, reset, DNS, or an answer that is not the service's JSON. */
export class NetworkError extends FivetranError {}
/** No answer in time. For `sync()`: the sync goes on at the server, only the waiting ended. */
export class TimeoutError extends FivetranError {}
/** 400 `NotSupported`: this service does not do that, and nothing was changed. The message says what to do instead. */
export class NotSupportedError extends FivetranError {}

/** 429, after the retries or with a delay too long to wait for. */
export class RateLimitError extends FivetranError {
  /** What `Retry-After` asked for. */
  readonly retryAfterMs: number | undefined

  constructor(message: string, context: ErrorContext & { retryAfterMs?: number | undefined } = {}) {
    super(message, context)
    this.retryAfterMs = context.retryAfterMs
  }
}

/** The source or destination is defined, but its setup tests fail. Fix the definition and call again. */
export class SetupTestsFailedError extends FivetranError {
  /** Id of the connection or destination that was tested; it exists and is not scheduled until it passes. */
  readonly objectId: string
  readonly tests: SetupTest[]

  constructor(what: string, objectId: string, tests: SetupTest[]) {
    const failed = tests.filter((test) => test.status === 'FAILED')
    const details = failed.map((test) => (test.message ? `${test.title}: ${test.message}` : test.title))
    super(`${what} does not pass its setup tests${details.length > 0 ? `. ${details.join('; ')}` : ''}`, {
      code: 'SetupTestsFailed',
    })
    this.objectId = objectId
    this.tests = tests
  }
}

/** What a sync that did not succeed left behind. */
export interface SyncFailure {
  connectorId: string
  connectionId: string
  runId: string
  state: RunState
  /** Things a person must do, from the connection's status. */
  tasks: Task[]
  /** Tables that failed, with their own errors. */
  tables: ProgressTable[]
  /** When the service tries again, if it said so. */
  rescheduledFor: Date | undefined
}

/** A sync ended without success. What was committed before stays, and the next sync goes on from there. */
export class SyncFailedError extends FivetranError {
  readonly connectorId: string
  readonly connectionId: string
  readonly runId: string
  readonly state: RunState
  readonly tasks: Task[]
  readonly tables: ProgressTable[]
  readonly rescheduledFor: Date | undefined

  constructor(message: string, code: string, failure: SyncFailure) {
    super(message, { code })
    this.connectorId = failure.connectorId
    this.connectionId = failure.connectionId
    this.runId = failure.runId
    this.state = failure.state
    this.tasks = failure.tasks
    this.tables = failure.tables
    this.rescheduledFor = failure.rescheduledFor
  }
}

/** The error for an HTTP answer that is not a success. */
export function errorForStatus(
  message: string,
  context: ErrorContext & { status: number; retryAfterMs?: number | undefined },
): FivetranError {
  if (context.code === 'NotSupported') return new NotSupportedError(message, context)
  switch (context.status) {
    case 401:
      return new AuthenticationError(message, context)
    case 403:
      return new PermissionError(message, context)
    case 404:
      return new NotFoundError(message, context)
    case 409:
      return new ConflictError(message, context)
    case 429:
      return new RateLimitError(message, context)
    default:
      return context.status >= 500 ? new ServerError(message, context) : new InvalidInputError(message, context)
  }
}
