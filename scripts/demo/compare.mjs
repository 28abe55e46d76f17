// The source against the destinations, table by table.
import { d1Key, d1Table, manifests, r2Current } from "./landed.mjs";
import { number } from "./terminal.mjs";

/** Sums that differ when any of these values differs: more than a count, cheap enough for every sync of the demo. */
const CHECKED = { flights: ["id", "delay_minutes", "distance_miles"] };

/** One line for each table and destination: whether it equals the source. */
export async function compare({ source, d1, r2, fivetran, toD1, toR2 }) {
  const lines = [];
  const parquet = await manifests(r2, "demo");
  for (const { schema, table, inD1, inR2 } of await tablePairs(fivetran, toD1, toR2)) {
    const columns = source.mutable ? (CHECKED[table] ?? []) : [];
    const manifest = inR2 && parquet.find((one) => one.schema === inR2.schema && one.table === inR2.table);
    // A table without a key gets one made of its values, so rows that are alike in everything are one row there.
    const distinct = (manifest ? manifest.primary_key[0] : await d1Key(d1, inD1)) === "_fivetran_id";
    const expected = await atSource(source, schema, table, columns, distinct);
    const name = schema === "public" ? table : `${schema}.${table}`;
    if (inD1) lines.push(line(`${name} in D1`, expected, await atD1(d1, inD1, columns)));
    if (inR2) lines.push(line(`${name} on R2`, expected, await atR2(r2, manifest, columns)));
  }
  return lines;
}

/** Every table, with its names at the destinations for which it is enabled. */
async function tablePairs(fivetran, toD1, toR2) {
  const names = async (connector) => (await fivetran.connections.schemas.get((await connector.ensure()).id)).schemas;
  const [d1, r2] = [await names(toD1), await names(toR2)];
  const at = (schemas, schema, table) => {
    const { enabled, name_in_destination, tables } = schemas[schema];
    return enabled && tables[table].enabled ? { schema: name_in_destination, table: tables[table].name_in_destination } : undefined;
  };
  return Object.entries(d1)
    .flatMap(([schema, { tables }]) =>
      Object.keys(tables).map((table) => ({ schema, table, inD1: at(d1, schema, table), inR2: at(r2, schema, table) })),
    )
    .filter(({ inD1, inR2 }) => inD1 || inR2);
}

async function atSource({ query }, schema, table, columns, distinct) {
  const sums = columns.map((column) => `, coalesce(sum("${column}"), 0) AS "${column}"`).join("");
  const name = [schema, table].map((part) => `"${part.replaceAll('"', '""')}"`).join(".");
  const rows = distinct ? "count(DISTINCT t::text)" : "count(*)";
  const [row] = await query(`SELECT ${rows} AS rows${sums} FROM ${name} t`);
  return { rows: Number(row.rows), sums: columns.map((column) => Number(row[column])), deleted: 0 };
}

async function atD1(d1, { schema, table }, columns) {
  const sums = columns.map((column) => `, coalesce(sum("${column}") FILTER (WHERE NOT _fivetran_deleted), 0) AS "${column}"`);
  const sql = `SELECT count(*) FILTER (WHERE NOT _fivetran_deleted) AS rows,
    count(*) FILTER (WHERE _fivetran_deleted) AS deleted${sums.join("")} FROM ${await d1Table(d1, schema, table)}`;
  const row = await d1.prepare(sql).first();
  return { rows: row.rows, sums: columns.map((column) => Number(row[column])), deleted: row.deleted };
}

async function atR2(r2, manifest, columns) {
  const current = manifest && (await r2Current(r2, manifest, columns));
  // Too large to merge here: what the last full load counted.
  if (!current) return { rows: manifest?.live_rows ?? 0, sums: [], deleted: 0 };
  const sums = columns.map((column) => current.rows.reduce((sum, row) => sum + Number(row[column] ?? 0), 0));
  return { rows: current.rows.length, sums, deleted: current.deleted };
}

function line(what, expected, found) {
  const equal = expected.rows === found.rows && String(expected.sums) === String(found.sums);
  const deleted = found.deleted > 0 ? `, and ${number(found.deleted)} marked deleted` : "";
  const detail = equal
    ? `${number(found.rows)} rows${expected.sums.length > 0 ? ", same sums" : ""}${deleted}`
    : `${describe(found)} at the destination, ${describe(expected)} at the source`;
  return { what, equal, detail };
}

const describe = ({ rows, sums }) => [`${number(rows)} rows`, ...sums.map((sum) => `sum ${sum}`)].join(", ");
