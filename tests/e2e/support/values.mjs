// Equality of every value, source against destination.
//
// Both sides are brought to one text per value that differs when the values differ: Postgres does it for the source
// (SQL below), readers.py for the destination, from what DuckDB and SQLite give. Nothing of the service takes part.
import assert from "node:assert/strict";

/** How a value of each Postgres type is compared. Everything else arrives as Postgres' own text. */
const KINDS = {
  bool: "bool",
  int2: "int",
  int4: "int",
  int8: "int",
  oid: "int",
  float4: "float4",
  float8: "float8",
  date: "date",
  time: "time",
  timestamp: "timestamp",
  timestamptz: "timestamp",
  bytea: "bytes",
};

/** The session in which Postgres writes its texts. */
const SESSION = `SET timezone = 'UTC'; SET datestyle = 'ISO, YMD'; SET intervalstyle = 'postgres';
  SET extra_float_digits = 3; SET bytea_output = 'hex';`;

/** Longer texts are compared by their hash. readers.py knows the same number. */
const LONG = 1000;

const quote = (name) => `"${name.replaceAll('"', '""')}"`;

/** Columns of a table with their kinds, domains resolved. */
async function columnsOf(pg, schema, table) {
  const { rows } = await pg.query(
    `WITH RECURSIVE base(oid, type, typmod) AS (
       SELECT a.attnum::oid, a.atttypid, a.atttypmod FROM pg_attribute a
       WHERE a.attrelid = $1::regclass AND a.attnum > 0 AND NOT a.attisdropped
       UNION ALL
       SELECT b.oid, t.typbasetype, t.typtypmod FROM base b JOIN pg_type t ON t.oid = b.type WHERE t.typtype = 'd')
     SELECT a.attname AS name, t.typname AS type, b.typmod FROM base b
     JOIN pg_type t ON t.oid = b.type AND t.typtype <> 'd'
     JOIN pg_attribute a ON a.attrelid = $1::regclass AND a.attnum = b.oid::int ORDER BY a.attnum`,
    [`${quote(schema)}.${quote(table)}`],
  );
  return rows.map(({ name, type, typmod }) => ({ name, kind: kindOf(type, typmod) }));
}

function kindOf(type, typmod) {
  if (type !== "numeric") return KINDS[type] ?? "text";
  // Precision and scale are packed into the type modifier; what Arrow's decimal cannot hold travels as text.
  const [precision, scale] = [(typmod - 4) >> 16, (((typmod - 4) & 0x7ff) ^ 0x400) - 0x400];
  return typmod >= 4 && precision <= 38 && scale >= 0 && scale <= precision ? "decimal" : "text";
}

function expression({ name, kind }) {
  const column = quote(name);
  const finite = (sql) => `CASE WHEN isfinite(${column}) THEN (${sql})::text ELSE ${column}::text END`;
  switch (kind) {
    case "bool":
      return `CASE ${column} WHEN true THEN 'true' WHEN false THEN 'false' END`;
    case "decimal":
      return `trim_scale(${column})::text`;
    case "float4":
      return `encode(float4send(${column}), 'hex')`;
    case "float8":
      return `encode(float8send(${column}), 'hex')`;
    case "date":
      return finite(`${column} - DATE '1970-01-01'`);
    case "time":
      return `trim_scale(extract(epoch FROM ${column}) * 1000000)::text`;
    case "timestamp":
      return finite(`trim_scale(extract(epoch FROM ${column}) * 1000000)`);
    case "bytes":
      return `encode(${column}, 'hex')`;
    case "text":
      // The cast to text strips the padding of char(n) and appends a mask to inet; format() asks the output function.
      // num_nulls() and not IS NULL, which is also true of a composite whose fields are NULL.
      return `CASE WHEN num_nulls(${column}) = 0 THEN
        CASE WHEN length(format('%s', ${column})) > ${LONG} THEN md5(format('%s', ${column})) ELSE format('%s', ${column}) END END`;
    default:
      return `${column}::text`;
  }
}

/** All rows of a source table, each a list of texts, and its columns. */
export async function sourceRows(pg, schema, table) {
  const columns = await columnsOf(pg, schema, table);
  const list = columns.map((column, index) => `${expression(column)} AS c${index}`).join(", ");
  const sql = `${SESSION} SELECT ${list} FROM ${quote(schema)}.${quote(table)}`;
  const results = await pg.query(sql);
  const { rows } = results[results.length - 1];
  return { columns, rows: rows.map((row) => columns.map((_, index) => row[`c${index}`])) };
}

/** Fails with the first difference, which is more help than two lists of thousands. */
export function assertSameRows(actual, expected, columns, what) {
  const sorted = (rows) => rows.map((row) => JSON.stringify(row)).sort();
  const [have, want] = [sorted(actual), sorted(expected)];
  const [haveSet, wantSet] = [new Set(have), new Set(want)];
  const missing = want.filter((row) => !haveSet.has(row));
  const surplus = have.filter((row) => !wantSet.has(row));
  const show = (row) => row && Object.fromEntries(JSON.parse(row).map((value, at) => [columns[at].name, value]));
  assert.deepEqual(
    { missing: missing.length, surplus: surplus.length, first: [show(surplus[0])] },
    { missing: 0, surplus: 0, first: [show(missing[0])] },
    `${what}: values differ`,
  );
  assert.equal(actual.length, expected.length, `${what}: number of rows`);
}
