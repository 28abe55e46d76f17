// The database that the demo moves: its own, or the user's.
import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import pg from "pg";

// Values as text, exactly as PostgreSQL writes them: a JS number cannot hold every bigint.
const AS_TEXT = { getTypeParser: () => (value) => value };

/** @typedef {{ url: string, describe: string, mutable: boolean, query: (sql: string) => Promise<any[]>, stop: () => Promise<void> }} Source */

/** The user's database: read, never written. @returns {Promise<Source>} */
export async function userSource(url) {
  if (!/^postgres(ql)?:\/\//.test(url)) throw new Error("DATABASE_URL: This is not a postgres:// URL.");
  const query = await readOnlyClient(url).catch((error) => {
    throw new Error(`DATABASE_URL: The database could not be reached: ${error.message || error.code}`);
  });
  const [{ version }] = await query("SELECT current_setting('server_version') AS version");
  const { host, pathname } = new URL(url);
  return {
    url,
    describe: `PostgreSQL ${version.split(" ")[0]} at ${host}${pathname}`,
    mutable: false,
    query,
    stop: async () => query.end(),
  };
}

/** The demo's own database. `onRows` hears how many flights are loaded. @returns {Promise<Source>} */
export async function demoSource(flights, onRows) {
  const script = fileURLToPath(new URL("pglite.mjs", import.meta.url));
  const child = fork(script, [String(flights)], { stdio: ["ignore", "inherit", "inherit", "ipc"] });
  const { port, version } = await new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`The embedded PostgreSQL ended with code ${code}.`)));
    child.on("message", (message) => (message.port ? resolve(message) : onRows(message.rows)));
  });
  const url = `postgres://postgres:postgres@127.0.0.1:${port}/postgres?sslmode=disable`;
  return {
    url,
    describe: `PostgreSQL ${version} (PGlite) on 127.0.0.1:${port}`,
    mutable: true,
    // A connection for each statement: PGlite's connections share one session, so an idle one must not be in the way.
    query: async (sql) => {
      const client = new pg.Client({ connectionString: url, types: AS_TEXT });
      await client.connect();
      try {
        const results = [await client.query(sql)].flat();
        return results.at(-1).rows;
      } finally {
        await client.end();
      }
    },
    stop: async () => {
      child.removeAllListeners("exit");
      child.disconnect();
    },
  };
}

async function readOnlyClient(connectionString) {
  const options = "-c default_transaction_read_only=on";
  const client = new pg.Client({ connectionString, types: AS_TEXT, options });
  await client.connect();
  const query = async (sql) => (await client.query(sql)).rows;
  query.end = () => client.end();
  return query;
}
