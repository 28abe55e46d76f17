// Tables of the user's that a destination cannot hold: they are left out, and said to be, and the others go on.
import { SyncFailedError } from "@dotdo/fivetran";
import { skipped } from "./terminal.mjs";

/** Reasons that lie in a table and its destination, and would be the same at the next try. */
const OF_THE_TABLE = new Set(["destination_limit", "data", "source_permission"]);

/**
 * A sync, and if tables fail for reasons of their own, another one without them: they are switched off for this connector.
 * Rows that the failed sync made durable are counted.
 */
export async function syncAround(fivetran, connector, start) {
  let before = 0;
  for (;;) {
    try {
      const result = await start(connector);
      return { ...result, rowsSynced: result.rowsSynced + before };
    } catch (error) {
      if (!(error instanceof SyncFailedError) || !isOnlyOfTables(error)) throw error;
      const run = await fivetran.connections.runs.get(error.connectionId, error.runId);
      before += run.counts.written;
      await skip(fivetran, connector.id, error);
    }
  }
}

const isOnlyOfTables = ({ tables }) => tables.length > 0 && tables.every((table) => OF_THE_TABLE.has(table.error?.kind));

async function skip(fivetran, name, { connectionId, tables }) {
  for (const { schema, table, error } of tables) {
    skipped(`${name}: ${schema}.${table}: ${error.message}`);
    await fivetran.connections.schemas.updateTable(connectionId, schema, table, { enabled: false });
  }
}
