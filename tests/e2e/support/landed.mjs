// What is at the destinations, by readers that know nothing of the service, and whether it equals the source.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { root } from "../../../scripts/lib/paths.mjs";
import { pythonPath } from "../../../scripts/lib/tools.mjs";
import { assertSameRows, sourceRows } from "./values.mjs";

const readers = fileURLToPath(new URL("readers.py", import.meta.url));
const python = process.env.FIVETRAN_TEST_PYTHON || pythonPath;

/** The bucket that wrangler.toml binds for tests, demo and `npm start`. */
export const BUCKET = "LAKE";

/** The D1 database likewise. */
export const DATABASE = "ANALYTICS_DB";

/**
 * Compares tables of the source with what landed, value by value, and gives what landed.
 *
 * @param {"d1" | "r2"} destination
 * @param {string} id Of the connection.
 * @param {string[]} tables Source tables, as `table` (in `public`) or `schema.table`.
 */
export async function assertLanded(world, destination, id, tables, { prefix = "" } = {}) {
  const expected = await Promise.all(tables.map((table) => sourceRows(world.pg, ...nameOf(table))));
  const wanted = expected.map(({ columns }) => columns);
  const landed = await readLanded(world, destination, id, tables, { prefix, kinds: wanted });
  tables.forEach((table, at) => {
    assertSameRows(landed[at].rows, expected[at].rows, expected[at].columns, `${table} in ${destination}`);
  });
  return landed;
}

/** Reads tables as they landed: `{ rows, deleted, synced }` each. `kinds` gives name and kind of the columns to read. */
export async function readLanded(world, destination, id, tables, { prefix = "", kinds }) {
  const names = await Promise.all(tables.map((table) => namesOf(world, id, ...nameOf(table))));
  const lake = destination === "r2" ? await copyOfLake(world.service, prefix) : undefined;
  try {
    const jobs = names.map((name, at) => {
      const columns = kinds[at].map(({ name: source, kind }) => ({ name: name.columns[source], kind }));
      return destination === "r2"
        ? { reader: "r2", name: tables[at], columns, sql: currentState(path.join(lake, name.schema, name.table)) }
        : { reader: "d1", name: tables[at], columns, state: world.service.state, table: `${name.schema}__${name.table}` };
    });
    return await readJobs(jobs);
  } finally {
    if (lake) rmSync(lake, { recursive: true, force: true });
  }
}

/** `public` is left out in table names of tests. */
const nameOf = (table) => (table.includes(".") ? table.split(".") : ["public", table]);

/** Names at the destination, as the API tells them. */
async function namesOf(world, id, schema, table) {
  const { schemas } = await world.ok("GET", `/v1/connections/${id}/schemas`);
  const path = [schema, table].map(encodeURIComponent);
  const { columns } = await world.ok("GET", `/v1/connections/${id}/schemas/${path[0]}/tables/${path[1]}/columns`);
  return {
    schema: schemas[schema].name_in_destination,
    table: schemas[schema].tables[table].name_in_destination,
    columns: Object.fromEntries(Object.entries(columns).map(([source, column]) => [source, column.name_in_destination])),
  };
}

export async function readJobs(jobs) {
  const child = promisify(execFile)(python, [readers], { maxBuffer: 1 << 30 });
  child.child.stdin.end(JSON.stringify(jobs));
  const { stdout } = await child;
  return JSON.parse(stdout);
}

/** The objects under a prefix as files, which is how DuckDB reads a lake on this machine. */
export async function copyOfLake(service, prefix = "") {
  const bucket = await service.r2(BUCKET);
  const folder = mkdtempSync(path.join(tmpdir(), "fivetran-lake-"));
  for (const key of await keysIn(bucket, prefix)) {
    const file = path.join(folder, key.slice(prefix.length));
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, Buffer.from(await (await bucket.get(key)).arrayBuffer()));
  }
  return folder;
}

/** All keys under a prefix. */
export async function keysIn(bucket, prefix = "") {
  const keys = [];
  let cursor;
  do {
    const page = await bucket.list({ prefix, cursor });
    keys.push(...page.objects.map(({ key }) => key));
    cursor = page.truncated ? page.cursor : undefined;
  } while (cursor);
  return keys;
}

/** The manifest of a table, or undefined. */
export async function manifestOf(service, schema, table, prefix = "") {
  const object = await (await service.r2(BUCKET)).get(`${prefix}${schema}/${table}/manifest.json`);
  return object ? object.json() : undefined;
}

/** The SQL of docs/reading-r2.md under that heading, for the table in this folder. */
function documented(heading, folder) {
  const guide = readFileSync(path.join(root, "docs", "reading-r2.md"), "utf8");
  const [, sql] = new RegExp(`## ${heading}\\n[^]*?\`\`\`sql\\n([^]*?)\`\`\``).exec(guide);
  return sql.replaceAll("s3://my-bucket/lake/shop/orders/", `${folder}/`);
}

/** Every version in a table of R2 that keeps history: rows of the columns `select` names, in order of key and start. */
export async function versionsIn(service, prefix, schema, table, select) {
  const lake = await copyOfLake(service, prefix);
  try {
    const sql = documented("History", path.join(lake, schema, table)).replace("FROM query(", `SELECT ${select} FROM query(`);
    const [{ rows }] = await readJobs([{ reader: "versions", sql }]);
    return rows;
  } finally {
    rmSync(lake, { recursive: true, force: true });
  }
}

/** The SQL of docs/reading-r2.md for the table in this folder. */
export function currentState(folder) {
  const sql = documented("Current state", folder);
  const { primary_key: key, parts } = JSON.parse(readFileSync(path.join(folder, "manifest.json"), "utf8"));
  // The guide says so: a table without parts is empty, and read_parquet does not take an empty list.
  if (parts.length === 0) return "";
  const columns = key.map((name) => `"${name}"`).join(", ");
  const made = sql
    .replace("PARTITION BY id ", `PARTITION BY ${columns} `)
    .replace("ORDER BY id;", `ORDER BY ${columns};`);
  assert.ok(!made.includes("my-bucket") && !/BY id\b/.test(made), "the guide's SQL is not what this test knows");
  return made;
}
