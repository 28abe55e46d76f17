// I9: memory does not grow with the source. WASM memory is capped at 64 MiB by the engine itself
// (`--wasm-max-mem-pages`), because workerd enforces no limit on a laptop.
import assert from "node:assert/strict";
import { before, test } from "node:test";
import { BUCKET, DATABASE, manifestOf } from "./support/landed.mjs";
import { LINEITEM } from "./support/lineitem.mjs";
import { startWorld, successful, tableOf } from "./support/world.mjs";

const MIB = 1024 * 1024;
const world = await startWorld({ service: { wasmMaxMemPages: 1024 }, postgres: { settings: { shared_buffers: "512MB" } } });

before(() => world.pg.query(LINEITEM.create));

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
