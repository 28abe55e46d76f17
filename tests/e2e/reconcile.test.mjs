// Comparing source and destination: equal after a sync, and every difference made by hand is found where it is.
import assert from "node:assert/strict";
import { test } from "node:test";
import { BUCKET, DATABASE } from "./support/landed.mjs";
import { startWorld, successful, tableOf } from "./support/world.mjs";

const world = await startWorld();

const PREFIX = "reconciled/";

/** Tables of every way to compare: by an integer, by text in another order than the server's, by hash for lack of a key. */
const TABLES = { orders: "key", names: "key", pairs: "key", measured: "hash", keyless: "hash" };

await world.pg.query(`
  CREATE TABLE orders (id bigint PRIMARY KEY, note text, amount numeric(12,2), secret text, private text, doc jsonb,
    at timestamptz, bytes bytea, ratio double precision, day date, flag boolean);
  INSERT INTO orders SELECT i, 'note ' || i, i / 7.0, 's' || i, 'p' || i, '{"i": 1}', now(), decode('00ff', 'hex'), i / 3.0,
    date '2000-01-01' + i, i % 2 = 0 FROM generate_series(1, 2500) i;
  CREATE TABLE names (name text COLLATE "en-x-icu" PRIMARY KEY, n int);
  INSERT INTO names SELECT chr(65 + i % 26) || chr(97 + (i * 7) % 26) || chr(228 + i % 20) || i, i FROM generate_series(1, 700) i;
  CREATE TABLE pairs (a uuid, b smallint, v real, PRIMARY KEY (b, a));
  INSERT INTO pairs SELECT gen_random_uuid(), i % 5, i / 9.0 FROM generate_series(1, 400) i;
  CREATE TABLE measured (value double precision PRIMARY KEY, t time);
  INSERT INTO measured SELECT i / 11.0, '10:00' FROM generate_series(1, 300) i;
  INSERT INTO measured VALUES ('NaN', NULL), ('-Infinity', '24:00');
  CREATE TABLE keyless (a int, b text);
  INSERT INTO keyless SELECT i % 150, 'x' FROM generate_series(1, 300) i;`);

/** A connection to a destination, with a hashed and a switched off column. */
async function connected(service, config) {
  const group = await world.destination(service, config);
  const { id } = await world.connection(group, { config: { schema_prefix: `rec_${service}` } });
  await world.ok("POST", `/v1/connections/${id}/schemas/reload`, {});
  await world.ok("PATCH", `/v1/connections/${id}/schemas/public/tables/orders`, {
    columns: { secret: { hashed: true }, private: { enabled: false } },
  });
  await world.synced(id);
  return id;
}

/** Compares a whole table, call by call; gives the ranges and the method. */
async function reconcile(id, table, size = {}) {
  const ranges = [];
  let cursor;
  let calls = 0;
  for (;;) {
    const answer = await world.ok("POST", `/v1/connections/${id}/reconcile`, { schema: "public", table, cursor, ...size });
    assert.equal(answer.equal, answer.items.every((range) => range.equal));
    assert.match(answer.note, /since the last sync/);
    ranges.push(...answer.items);
    calls += 1;
    if (!answer.next_cursor) return { ranges, calls, method: answer.method, key: answer.key };
    cursor = answer.next_cursor;
  }
}

const differing = ({ ranges }) => ranges.filter((range) => !range.equal);
const rowsOf = ({ ranges }) => [ranges.reduce((sum, range) => sum + range.source_rows, 0), ranges.reduce((sum, range) => sum + range.destination_rows, 0)];

const ids = {};
for (const [service, config] of [["d1", { binding: DATABASE }], ["r2", { bucket: BUCKET, prefix: PREFIX.slice(0, -1) }]]) {
  test(`after a sync to ${service} every table is equal, range by range`, async () => {
    ids[service] = await connected(service, config);
    for (const [table, method] of Object.entries(TABLES)) {
      const found = await reconcile(ids[service], table, { rows_per_range: 100, ranges: 3 });
      assert.deepEqual(differing(found), [], `${table} in ${service}`);
      assert.equal(found.method, method, table);
      const [{ n }] = (await world.pg.query(`SELECT count(*)::int AS n FROM (SELECT DISTINCT * FROM ${table}) t`)).rows;
      assert.deepEqual(rowsOf(found), [n, n], table);
      assert.ok(found.calls > 1 || n <= 300, `${table} took ${found.calls} calls`);
      // Ranges follow each other without a gap.
      assert.equal(found.ranges[0].from_key, null);
      assert.equal(found.ranges.at(-1).to_key, null);
      found.ranges.slice(1).forEach((range, at) => assert.deepEqual(range.from_key, found.ranges[at].to_key));
    }
  });

  test(`i5_the_source_counts_too_and_the_runs_history_in_${service}_keeps_it`, async () => {
    const run = successful(await world.resync(ids[service]));
    assert.equal(tableOf(run, "orders").counts.source_rows, 2500);
    const stored = await world.ok("GET", `/v1/connections/${ids[service]}/runs/${run.id}`);
    assert.equal(tableOf(stored, "orders").counts.source_rows, 2500);
    assert.equal(stored.counts.source_rows, stored.counts.read);
  });

  test(`what changed at the source differs until the next sync to ${service}`, async () => {
    await world.pg.query(`UPDATE orders SET note = '${service}' WHERE id = 1234`);
    const [range, ...others] = differing(await reconcile(ids[service], "orders", { rows_per_range: 500 }));
    assert.deepEqual([range.from_key, range.to_key, others], [["1000"], ["1500"], []]);
    await world.synced(ids[service]);
    assert.deepEqual(differing(await reconcile(ids[service], "orders")), []);
    // A column that is switched off is not compared.
    await world.pg.query("UPDATE orders SET private = 'other' WHERE id = 1");
    assert.deepEqual(differing(await reconcile(ids[service], "orders")), []);
  });
}

test("rows changed, deleted and added by hand in D1 are found in their ranges", async () => {
  const d1 = await world.service.d1(DATABASE);
  const orders = "rec_d1_public__orders";
  await d1.prepare(`UPDATE ${orders} SET amount = amount + 0.01 WHERE id = 250`).run();
  await d1.prepare(`DELETE FROM ${orders} WHERE id = 1001`).run();
  await d1.prepare(`UPDATE ${orders} SET id = 99999 WHERE id = 2222`).run();
  await d1.prepare(`UPDATE ${orders} SET secret = 'in clear' WHERE id = 1750`).run();
  const found = differing(await reconcile(ids.d1, "orders", { rows_per_range: 250 }));
  assert.deepEqual(
    found.map(({ from_key, to_key, source_rows, destination_rows }) => [from_key?.[0], to_key?.[0], source_rows, destination_rows]),
    [[undefined, "250", 250, 250], ["1000", "1250", 250, 249], ["1500", "1750", 250, 250], ["2000", "2250", 250, 249], ["2500", undefined, 0, 1]],
  );
  await d1.prepare("DELETE FROM rec_d1_public__keyless WHERE a = 7").run();
  const [range] = differing(await reconcile(ids.d1, "keyless"));
  assert.deepEqual([range.source_rows, range.destination_rows], [150, 149]);
  // A re-sync mends what is missing; what is too much it marks.
  successful(await world.resync(ids.d1));
  for (const table of ["orders", "keyless"]) assert.deepEqual(differing(await reconcile(ids.d1, table)), []);
});

test("a part that is gone or damaged in R2 is named, in the ranges it concerns", async () => {
  const bucket = await world.service.r2(BUCKET);
  const folder = `${PREFIX}rec_r2_public/orders/`;
  const manifest = JSON.parse(await (await bucket.get(`${folder}manifest.json`)).text());
  const change = manifest.parts.find(({ kind }) => kind === "change").path;
  const full = manifest.parts.find(({ kind }) => kind === "full").path;
  await bucket.delete(folder + change);
  const found = await reconcile(ids.r2, "orders", { rows_per_range: 500 });
  assert.ok(found.ranges.every(({ problems }) => problems?.[0].startsWith(change)));
  // The older version of the row is there, the newer one is lost.
  const [lost, ...others] = found.ranges.filter((range) => range.source_hash !== range.destination_hash);
  assert.deepEqual([lost.from_key, lost.to_key, lost.source_rows, lost.destination_rows, others], [["1000"], ["1500"], 500, 500, []]);
  const bytes = new Uint8Array(await (await bucket.get(folder + full)).arrayBuffer());
  await bucket.put(folder + full, bytes.fill(0xff, 100, 400));
  const damaged = await reconcile(ids.r2, "orders", { rows_per_range: 2500 });
  assert.ok(damaged.ranges.some(({ problems, equal }) => !equal && problems.some((problem) => problem.startsWith(full))), JSON.stringify(damaged));
  successful(await world.resync(ids.r2));
  assert.deepEqual(differing(await reconcile(ids.r2, "orders")), []);
});

test("hashed columns join across connections of a destination and not with another's", async () => {
  const d1 = await world.service.d1(DATABASE);
  const group = (await world.ok("GET", `/v1/connections/${ids.d1}`)).group_id;
  const { id } = await world.connection(group, { config: { schema_prefix: "rec_more", tables: ["public.orders"] } });
  await world.ok("POST", `/v1/connections/${id}/schemas/reload`, {});
  await world.ok("PATCH", `/v1/connections/${id}/schemas/public/tables/orders`, { columns: { secret: { hashed: true } } });
  await world.synced(id);
  const joined = "SELECT count(*) AS n FROM rec_d1_public__orders a JOIN rec_more_public__orders b USING (secret) WHERE NOT a._fivetran_deleted";
  assert.equal(await d1.prepare(joined).first("n"), 2500);
  const elsewhere = await world.destination("d1", { binding: DATABASE });
  const { id: other } = await world.connection(elsewhere, { config: { schema_prefix: "rec_other", tables: ["public.orders"] } });
  await world.ok("POST", `/v1/connections/${other}/schemas/reload`, {});
  await world.ok("PATCH", `/v1/connections/${other}/schemas/public/tables/orders`, { columns: { secret: { hashed: true } } });
  await world.synced(other);
  assert.equal(await d1.prepare(joined.replace("rec_more", "rec_other")).first("n"), 0);
});

test("a wrong request to compare is told what is wrong", async () => {
  const post = async (body, id = ids.d1) => {
    const { status, body: answer } = await world.service.api("POST", `/v1/connections/${id}/reconcile`, body);
    return [status, answer.code];
  };
  assert.deepEqual(await post({ schema: "public", table: "nowhere" }), [404, "NotFound"]);
  assert.deepEqual(await post({ schema: "public" }), [400, "InvalidInput"]);
  assert.deepEqual(await post({ schema: "public", table: "orders", ranges: 0 }), [400, "InvalidInput"]);
  assert.deepEqual(await post({ schema: "public", table: "orders", cursor: "!" }), [400, "InvalidInput"]);
  const { body } = await world.service.api("POST", `/v1/connections/${ids.d1}/reconcile`, { schema: "public", table: "orders", ranges: 1, rows_per_range: 10 });
  assert.deepEqual(await post({ schema: "public", table: "names", cursor: body.data.next_cursor }), [400, "InvalidInput"]);
  const group = await world.destination("d1", { binding: DATABASE });
  const { id } = await world.connection(group, { config: { schema_prefix: "never" } });
  await world.ok("POST", `/v1/connections/${id}/schemas/reload`, {});
  assert.deepEqual(await post({ schema: "public", table: "orders" }, id), [409, "IllegalState"]);
});
