/** What you pass to `createConnector`. */

/** A Worker binding, by its name or as the object itself (then give `env` to the client, so that its name can be found). */
export type Binding = string | object | { binding: object; name: string }

/** PostgreSQL, by URL, by parts, or through a Hyperdrive binding. */
export interface PostgresSource {
  /** The longer names are Fivetran's for where the server runs: the same connector. */
  type:
    | 'postgres'
    | 'aurora_postgres'
    | 'azure_postgres'
    | 'google_cloud_postgresql'
    | 'heroku_postgres'
    | 'postgres_rds'
  /** `postgres://user:password@host:port/database`. Kept as a secret. */
  url?: string
  host?: string
  port?: number
  database?: string
  user?: string
  password?: string
  /** Instead of a URL or parts: a Hyperdrive binding. */
  hyperdrive?: Binding
  sslmode?: 'disable' | 'prefer' | 'require' | 'verify-ca' | 'verify-full'
  /** Schemas to read; all of them if absent. */
  schemas?: string[]
  /** Tables to read, as `schema.table`; all of them if absent. */
  tables?: string[]
  /** Column whose growth marks changes, by `schema.table`. Without one, changes are found by transaction id. */
  cursorColumns?: Record<string, string>
  /** How far behind the cursor a read starts, for rows committed late. */
  cursorOverlapSeconds?: number
  /** Numbers as text: for values such as `NaN` that decimals cannot hold. */
  numericAsText?: boolean
  credentials?: { user?: string; password?: string } & Record<string, unknown>
}

/** Any other source: its fields are those of `GET /v1/metadata/connector-types/{type}`. */
export interface OtherSource {
  type: string
  credentials?: Record<string, unknown>
  objects?: string[]
  tables?: string[]
  [field: string]: unknown
}

export type Source = PostgresSource | OtherSource

interface DestinationNaming {
  /** Name of the group that holds the destination. Default: derived from the destination, so that connectors share it. */
  group?: string
}

/** Cloudflare D1, by binding or, from outside your account's Worker, by id. */
export interface D1Destination extends DestinationNaming {
  type: 'd1'
  database: Binding | { databaseId: string; accountId: string; apiToken: string }
}

/** Cloudflare R2. */
export interface R2Destination extends DestinationNaming {
  type: 'r2'
  bucket: Binding
  /** Where in the bucket. Default: its root. */
  prefix?: string
  format?: 'parquet' | 'jsonl' | 'csv'
  /** Parquet: `snappy` (default) or `none`. JSON lines and CSV: `none` (default) or `gzip`. */
  compression?: 'snappy' | 'gzip' | 'none'
}

/** Any other destination: the service says which fields it takes, or that it does not know it. */
export interface OtherDestination extends DestinationNaming {
  type: string
  credentials?: Record<string, unknown>
  [field: string]: unknown
}

export type DestinationDefinition = D1Destination | R2Destination | OtherDestination

/** A schedule in words. Other phrases are the service's to understand, and it names what it does. */
export type Schedule =
  | 'manual'
  | 'hourly'
  | 'daily'
  | 'every minute'
  | 'every hour'
  | 'every day'
  | `every ${5 | 15 | 30} minutes`
  | `every ${2 | 3 | 6 | 8 | 12} hours`
  | `every day at ${string}:00`
  | (string & {})

export interface SyncDefinition {
  /** Default: the service's, every 6 hours. */
  schedule?: Schedule
  /**
   * `full` reads everything each time, `incremental` (default) reads changes. `cdc` is not there yet: the service refuses
   * it.
   */
  mode?: 'full' | 'incremental' | 'cdc'
  paused?: boolean
}

/** A pipeline as code. The `id` is its identity: defining it again changes it, and never makes a second one. */
export interface ConnectorDefinition {
  /** Yours to choose, unique in the account, for ever. */
  id: string
  source: Source
  destination: DestinationDefinition
  sync?: SyncDefinition
  /** Schema (for databases: prefix of the schemas) at the destination. Default: the id in lower case, `_` for the rest. */
  schema?: string
  /**
   * Approves the certificate that the source's server shows whenever the connection is made or its configuration changes, if no
   * public authority vouches for it (RDS, Cloud SQL, Supabase, self-signed). Without it, approve with `connections.certificates.approve`.
   */
  trustCertificates?: boolean
  /** Not supported yet: defining one is an error, so that it is never silently left out. */
  transform?: { type: 'sql'; query: string } | { type: 'function'; fn: (row: never) => unknown }
}
