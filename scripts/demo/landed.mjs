// What is at the destinations, read without the service's help: SQL on the D1 database, and the Parquet files as they
// lie in the bucket, by an independent reader.
import { parquetMetadata, parquetReadObjects } from "hyparquet";

/** Above this many rows, merging change parts in this process's memory would be the wrong tool. */
const MERGE_LIMIT = 5_000_000;

/** The D1 table of a destination table, quoted. Its name is in the database's own list: not every pair makes a plain one. */
export async function d1Table(d1, schema, table) {
  const sql = "SELECT name FROM _fivetran_tables WHERE schema_name = ?1 AND table_name = ?2";
  const name = await d1.prepare(sql).bind(schema, table).first("name");
  if (!name) throw new Error(`D1 has no table for ${schema}.${table}.`);
  return `"${name.replaceAll('"', '""')}"`;
}

/** The first key column of a destination table in D1. */
export function d1Key(d1, { schema, table }) {
  const sql = "SELECT json_extract(definition, '$.primary_key[0]') AS key FROM _fivetran_tables WHERE schema_name = ?1 AND table_name = ?2";
  return d1.prepare(sql).bind(schema, table).first("key");
}

/** Manifests of all tables below a prefix. */
export async function manifests(r2, prefix) {
  const found = [];
  let cursor;
  do {
    const page = await r2.list({ prefix: `${prefix}/`, cursor });
    for (const { key } of page.objects.filter((object) => object.key.endsWith("/manifest.json"))) {
      const folder = key.slice(0, -"manifest.json".length);
      found.push({ folder, ...(await (await r2.get(key)).json()) });
    }
    cursor = page.truncated ? page.cursor : undefined;
  } while (cursor);
  return found;
}

/**
 * The current rows of a table on R2, and how many are marked deleted: per key, the last row of the last part counts.
 * Undefined for tables too large to merge here.
 */
export async function r2Current(r2, manifest, columns = []) {
  if (manifest.total_rows > MERGE_LIMIT) return undefined;
  const key = manifest.primary_key;
  const wanted = [...new Set([...key, ...columns, "_fivetran_deleted"])];
  const newest = new Map();
  for (const part of manifest.parts) {
    for (const row of await readPart(r2, manifest, part, wanted)) {
      newest.set(key.map((column) => `${row[column]}`).join("\u0000"), row);
    }
  }
  const rows = [...newest.values()].filter((row) => !row._fivetran_deleted);
  return { rows, deleted: newest.size - rows.length };
}

/** Rows of one part; throws when the file does not hold what the manifest says. */
export async function readPart(r2, manifest, part, columns) {
  const file = await (await r2.get(manifest.folder + part.path)).arrayBuffer();
  const metadata = parquetMetadata(file);
  if (Number(metadata.num_rows) !== part.rows || file.byteLength !== part.bytes) {
    throw new Error(`${manifest.folder}${part.path} has ${metadata.num_rows} rows, and the manifest says ${part.rows}.`);
  }
  return parquetReadObjects({ file, metadata, columns });
}
