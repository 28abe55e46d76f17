// I9: memory does not grow with the source. WASM memory is capped at 64 MiB by the engine itself
// (`--wasm-max-mem-pages`), because workerd enforces no limit on a laptop.
import assert from "node:assert/strict";
import { before, test } from "node:test";
import { BUCKET, DATABASE, assertLanded, manifestOf } from "./support/landed.mjs";
import { LINEITEM } from "./support/lineitem.mjs";
import { startWorld, successful, tableOf, until } from "./support/world.mjs";

const MIB = 1024 * 1024;
const world = await startWorld({ service: { wasmMaxMemPages: 1024 }, postgres: { settings: { shared_buffers: "512MB" } } });

before(() => {
  const wide = Array.from({ length: 90 }, (_, at) => `c${at} ${at % 3 ? "text" : "numeric(20,4)"} DEFAULT ${at % 3 ? `'${"v".repeat(40)}'` : at}`);
  return world.pg.query(`${LINEITEM.create}; CREATE TABLE wide_90 (id integer PRIMARY KEY, ${wide}); INSERT INTO wide_90 SELECT generate_series(1, 5000)`);
});

/** Syncs the first `rows` rows of a table like lineitem; gives the run with its peak of memory. */
async function lineitem(rows, destination, config) {
  await world.pg.query(`CREATE TABLE lineitem_${rows} (LIKE lineitem INCLUDING ALL); ${LINEITEM.insert(`lineitem_${rows}`, 1, rows)}`);
  const group = await world.destination(destination, config);
  const { id } = await world.connection(group, { config: { schema_prefix: `${destination}_${rows}`, tables: [`public.lineitem_${rows}`] } });
  return { id, run: await world.synced(id, 180_000) };
}

test("i9_a_million_rows_reach_parquet_in_64_MiB_and_no_more_than_a_tenth_of_them_need", async () => {
  const small = await lineitem(200_000, "r2", { bucket: BUCKET });
  const large = await lineitem(1_000_000, "r2", { bucket: BUCKET });
  const table = tableOf(large.run, "lineitem_1000000");
  assert.equal(table.counts.written, 1_000_000);
  assert.ok(table.chunks_done >= 3, `${table.chunks_done} chunks`);
  const [few, many] = [small, large].map(({ run }) => run.effort.peak_memory / MIB);
  assert.ok(many > 0 && many < 64, `${many} MiB`);
  assert.ok(many - few < 4, `flat memory: ${few} MiB for 200,000 rows, ${many} MiB for 1,000,000`);

  const manifest = await manifestOf(world.service, "r2_1000000_public", "lineitem_1000000");
  assert.equal(manifest.live_rows, 1_000_000);
  const sizes = manifest.parts.map(({ bytes }) => bytes / MIB);
  assert.ok(manifest.parts.length <= 10 && Math.min(...sizes.slice(0, -2)) > 4, `sensible files: ${sizes.map((size) => size.toFixed(1))} MiB`);
});

test("i9_wide_values_do_not_add_up", async () => {
  // 60 MB in values of 1 MB, which arrive 8 to a batch.
  await world.pg.query("CREATE TABLE docs (id integer PRIMARY KEY, doc text); INSERT INTO docs SELECT i, repeat(md5(i::text), 32768) FROM generate_series(1, 60) i");
  const group = await world.destination("r2", { bucket: BUCKET });
  const { id } = await world.connection(group, { config: { schema_prefix: "docs", tables: ["public.docs"] } });
  const run = await world.synced(id);
  assert.equal(tableOf(run, "docs").counts.written, 60);
  assert.ok(run.effort.peak_memory < 64 * MIB);
});

test("i9_d1_stays_below_the_cap_as_well", async () => {
  const { run } = await lineitem(150_000, "d1", { binding: DATABASE });
  assert.ok(run.effort.peak_memory < 64 * MIB);
  const { n } = await (await world.service.d1(DATABASE)).prepare("SELECT count(*) AS n FROM d1_150000_public__lineitem_150000").first();
  assert.equal(n, 150_000);
});

/** A connection of some tables of `public` to a destination of its own. */
async function connect(destination, tables, prefix) {
  const group = await world.destination(destination, destination === "r2" ? { bucket: BUCKET } : { binding: DATABASE });
  return world.connection(group, { config: { schema_prefix: prefix, tables: tables.map((table) => `public.${table}`) } });
}

test("i9_fifty_chunks_in_one_isolate_need_what_ten_need", async () => {
  // Every partition is a chunk at least, once the table is larger than one: fifty chunks need no gigabytes.
  const partitions = Array.from({ length: 50 }, (_, at) => `CREATE TABLE plateau_${at} PARTITION OF plateau FOR VALUES IN (${at}); ALTER TABLE plateau_${at} ALTER pad SET STORAGE PLAIN`);
  await world.pg.query(`CREATE TABLE plateau (id integer, part integer, n numeric(18,4), at timestamptz, pad text, PRIMARY KEY (part, id)) PARTITION BY LIST (part);
    ${partitions.join("; ")};
    INSERT INTO plateau SELECT i, i % 50, i / 7.0, '2024-01-01'::timestamptz + i * interval '1 second', repeat(md5(i::text), 110) FROM generate_series(1, 20000) i`);
  const { id } = await connect("r2", ["plateau"], "plateau");
  await world.ok("POST", `/v1/connections/${id}/sync`, {});
  const peak = ({ effort }) => effort.peak_memory / MIB;
  const early = await until(async () => {
    const run = await world.progress(id);
    return run?.tables[0]?.chunks_done >= 10 && run;
  }, "ten chunks");
  assert.ok(early.tables[0].chunks_done < 30, `seen too late: ${early.tables[0].chunks_done} chunks`);
  const run = successful(await world.ended(id));
  assert.ok(tableOf(run, "plateau").chunks_done >= 50);
  assert.equal(tableOf(run, "plateau").counts.written, 20_000);
  assert.ok(peak(run) - peak(early) <= 1, `${peak(early)} MiB after ${early.tables[0].chunks_done} chunks, ${peak(run)} MiB after all`);
});

test("i9_several_syncs_at_once_share_one_isolate", async () => {
  const syncs = [["r2", "lineitem_200000"], ["r2", "docs"], ["d1", "wide_90"], ["d1", "wide_90"]];
  const made = await Promise.all(syncs.map(([destination, table], at) => connect(destination, [table], `together${at}`)));
  await Promise.all(made.map(({ id }) => world.ok("POST", `/v1/connections/${id}/sync`, {})));
  const runs = await Promise.all(made.map(({ id }) => world.ended(id)));
  for (const run of runs) {
    successful(run);
    assert.ok(run.effort.peak_memory < 64 * MIB);
  }
});

test("i9_a_table_of_1500_columns_reaches_parquet", async () => {
  // NULLs are the worst case: 4 bytes on the wire, 16 as an Arrow decimal.
  const types = ["numeric(38,10)", "bigint", "text", "timestamptz", "boolean", "double precision"];
  const columns = Array.from({ length: 1_500 }, (_, at) => `c${at} ${types[at % types.length]}`);
  await world.pg.query(`CREATE TABLE wide_1500 (id integer PRIMARY KEY, ${columns}); CREATE TABLE wide_decimals (id integer PRIMARY KEY, ${columns.slice(0, 800).map((_, at) => `d${at} numeric(38,10)`)});
    INSERT INTO wide_1500 (id, c0, c1, c2, c4, c1499) SELECT i, i / 3.0, i, 'v' || i, i % 2 = 0, i FROM generate_series(1, 6000) i;
    INSERT INTO wide_decimals (id, d799) SELECT i, i FROM generate_series(1, 12000) i`);
  const { id } = await connect("r2", ["wide_1500", "wide_decimals"], "wide");
  const run = await world.synced(id);
  assert.equal(tableOf(run, "wide_1500").counts.written, 6_000);
  assert.equal(tableOf(run, "wide_decimals").counts.written, 12_000);
  assert.ok(run.effort.peak_memory < 64 * MIB, `${run.effort.peak_memory / MIB} MiB`);
});

test("i9_values_at_the_limit_arrive_and_one_byte_more_fails_its_table_alone", async () => {
  const limit = 2 * MIB;
  const row = 3 * MIB;
  // Digits that no compression makes smaller, after enough small rows to fill the buffers.
  const digits = (bytes) => `left((SELECT string_agg(md5(random()::text || i || j), '') FROM generate_series(1, ${Math.ceil(bytes / 32)}) j), ${bytes})`;
  const table = (name, bytes, more, count) => `CREATE TABLE ${name} (id integer PRIMARY KEY, doc text, raw bytea);
    INSERT INTO ${name} SELECT i, ${digits(bytes)}, convert_to(${digits(more)}, 'UTF8') FROM generate_series(1, ${count}) i`;
  await world.pg.query(`CREATE TABLE at_limit (id integer PRIMARY KEY, doc text, raw bytea); INSERT INTO at_limit SELECT -i, md5(i::text), NULL FROM generate_series(1, 150000) i;
    INSERT INTO at_limit SELECT i, ${digits(limit)}, convert_to(${digits(row - limit - 100)}, 'UTF8') FROM generate_series(1, 12) i;
    ${table("above_limit", limit + 1, 1, 1)}; INSERT INTO above_limit VALUES (2, 'small', '\\x01');
    ${table("row_above", 1.75 * MIB, 1.75 * MIB, 1)}; INSERT INTO row_above VALUES (2, 'small', '\\x01')`);
  const { id } = await connect("r2", ["at_limit", "above_limit", "row_above", "wide_90"], "limits");
  const run = await world.sync(id);
  assert.equal(run.state, "FAILURE_WITH_TASK", JSON.stringify(run.tables));
  assert.equal(tableOf(run, "at_limit").counts.written, 150_012);
  for (const arrived of ["at_limit", "wide_90"]) assert.equal(tableOf(run, arrived).state, "published");
  const { error } = tableOf(run, "above_limit");
  assert.equal(error.kind, "data");
  assert.match(error.message, new RegExp(`column doc in public\\.above_limit has ${limit + 1} bytes, more than the ${limit}`));
  const [query] = /SELECT .*$/.exec(error.remedy);
  assert.deepEqual((await world.pg.query(query)).rows, [{ id: 1 }], "the remedy finds the row");
  assert.match(tableOf(run, "row_above").error.message, new RegExp(`row of public\\.row_above has 36\\d{5} bytes, more than the ${row}`));
  assert.match((await world.ok("GET", `/v1/connections/${id}`)).status.tasks[0].message, /bytes/);
  assert.equal((await manifestOf(world.service, "limits_public", "above_limit")).total_rows, 0, "half a table is not published");
  await world.pg.query("DELETE FROM above_limit WHERE id = 1; DELETE FROM row_above WHERE id = 1");
  await world.synced(id);
});

test("i9_a_row_at_D1s_limit_arrives_and_a_larger_one_fails_its_table_alone", async () => {
  const table = (name, bytes) => `CREATE TABLE ${name} (id integer PRIMARY KEY, doc text); INSERT INTO ${name} VALUES (7, repeat('x', ${bytes})), (8, 'small')`;
  await world.pg.query(`${table("fits_d1", 1_999_900)}; ${table("bursts_d1", 2_000_001)}`);
  const { id } = await connect("d1", ["fits_d1", "bursts_d1"], "rows");
  const run = await world.sync(id);
  assert.equal(run.state, "FAILURE_WITH_TASK", JSON.stringify(run.tables));
  assert.equal(tableOf(run, "fits_d1").state, "published");
  const { error } = tableOf(run, "bursts_d1");
  assert.equal(error.kind, "destination_limit");
  assert.match(error.message, /rows_public\.bursts_d1: the row id=7 has \d+ bytes, 2000001 of them in column doc; D1 takes 2000000/);
  await world.pg.query("DELETE FROM bursts_d1 WHERE id = 7");
  await world.synced(id);
  await assertLanded(world, "d1", id, ["fits_d1", "bursts_d1"]);
});

test("i9_wide_rows_that_vanished_are_marked_a_few_at_a_time", async () => {
  // 50 MB of text that take 2 MB in the file: what counts is their size once decoded.
  await world.pg.query("CREATE TABLE gone (id integer PRIMARY KEY, doc text); INSERT INTO gone SELECT i, repeat('9é' || i, 4000) FROM generate_series(1, 3000) i");
  const group = await world.destination("r2", { bucket: BUCKET });
  const { id } = await world.connection(group, { config: { schema_prefix: "gone", tables: ["public.gone"] } });
  await world.synced(id);
  await world.pg.query("DELETE FROM gone WHERE id > 500");
  const run = successful(await world.resync(id));
  assert.equal(tableOf(run, "gone").counts.deleted, 2500);
  assert.ok(run.effort.peak_memory < 64 * MIB);
});
