// A source whose schema moves: what the destination does, what the policy says, and what is told about it over REST.
import assert from "node:assert/strict";
import { before, test } from "node:test";
import { BUCKET, DATABASE, assertLanded, manifestOf, readLanded } from "./support/landed.mjs";
import { startWorld, successful, tableOf } from "./support/world.mjs";

const world = await startWorld();
const groups = {};

before(async () => {
  groups.d1 = await world.destination("d1", { binding: DATABASE });
  groups.r2 = await world.destination("r2", { bucket: BUCKET });
});

/** A connection per destination for one schema of the source, which both read. */
async function both(schema, more = {}) {
  const connect = async (destination) => {
    const config = { schema_prefix: `c_${schema}`, schemas: [schema] };
    return { destination, ...(await world.connection(groups[destination], { ...more, config })) };
  };
  return [await connect("d1"), await connect("r2")];
}

const versions = async (id, schema, table) =>
  (await world.ok("GET", `/v1/connections/${id}/schema-versions?schema=${schema}&table=${table}`)).items;

const query = (sql) => world.pg.query(sql);

test("new tables and columns arrive with their values under ALLOW_ALL", async () => {
  await query("CREATE SCHEMA grow; CREATE TABLE grow.a (id integer PRIMARY KEY, x text); INSERT INTO grow.a VALUES (1, 'one'), (2, 'two')");
  for (const { id, destination } of await both("grow")) {
    await world.synced(id);
    await query(`ALTER TABLE grow.a ADD COLUMN y_${destination} numeric(8,3) DEFAULT 1.5;
      INSERT INTO grow.a (id, x) SELECT max(id) + 1, 'later' FROM grow.a;
      CREATE TABLE grow.b_${destination} (id uuid PRIMARY KEY, at timestamptz); INSERT INTO grow.b_${destination} VALUES ('00000000-0000-0000-0000-00000000000a', now())`);
    const run = await world.synced(id);
    assert.equal(tableOf(run, "a").mode, "full", "a default fills rows that did not change");
    await assertLanded(world, destination, id, ["grow.a", `grow.b_${destination}`]);

    const history = await versions(id, "grow", "a");
    assert.equal(history.length, 2);
    assert.equal(history[0].diff.new_stream, true);
    assert.deepEqual(history[1].diff.added.map(({ name }) => name), [`y_${destination}`]);
    assert.equal(history[1].run_id, run.id);
    assert.equal(history[1].stream.columns.at(-1).source_type, "numeric(8,3)");
  }
});

test("i8_a_widened_type_widens_the_destination_and_keeps_values", async () => {
  await query(`CREATE SCHEMA widen; CREATE TABLE widen.t (id integer PRIMARY KEY, i smallint, n numeric(6,2), f real, d date, s integer);
    INSERT INTO widen.t SELECT i, i * 100, i / 3.0, i / 7.0, date '2024-01-01' + i, i FROM generate_series(-50, 50) i; INSERT INTO widen.t (id) VALUES (1000)`);
  const connections = await both("widen");
  for (const { id } of connections) await world.synced(id);
  await query(`ALTER TABLE widen.t ALTER i TYPE bigint, ALTER n TYPE numeric(20,6), ALTER f TYPE double precision, ALTER d TYPE timestamp, ALTER s TYPE text;
    INSERT INTO widen.t VALUES (2000, 9223372036854775807, 12345678901234.567891, 1e300, '2024-01-01 10:11:12.131415', 'a text')`);
  for (const { id, destination } of connections) {
    await world.synced(id);
    await assertLanded(world, destination, id, ["widen.t"]);
    const [, { diff }] = await versions(id, "widen", "t");
    assert.deepEqual(diff.type_changes.map(({ column, widened_to }) => [column, widened_to.type]), [
      ["i", "LONG"], ["n", "DECIMAL"], ["f", "DOUBLE"], ["d", "NAIVE_DATETIME"], ["s", "STRING"],
    ]);
  }
});

test("i8_a_narrowed_type_does_not_narrow_the_destination", async () => {
  await query("CREATE SCHEMA narrow; CREATE TABLE narrow.t (id integer PRIMARY KEY, big bigint); INSERT INTO narrow.t VALUES (1, 5), (2, 9223372036854775807)");
  const connections = await both("narrow");
  for (const { id } of connections) await world.synced(id);
  await query("DELETE FROM narrow.t WHERE id = 2; ALTER TABLE narrow.t ALTER big TYPE smallint; INSERT INTO narrow.t VALUES (3, -7)");
  for (const { id, destination } of connections) {
    await world.synced(id);
    const kinds = [[{ name: "id", kind: "int" }, { name: "big", kind: "int" }]];
    const [{ rows }] = await readLanded(world, destination, id, ["narrow.t"], { kinds });
    assert.deepEqual(rows.sort(), [["1", "5"], ["2", "9223372036854775807"], ["3", "-7"]]);
  }
});

test("i8_a_dropped_column_stays_with_its_values", async () => {
  await query("CREATE SCHEMA dropped; CREATE TABLE dropped.t (id integer PRIMARY KEY, keep text, lose text); INSERT INTO dropped.t VALUES (1, 'k1', 'l1'), (2, 'k2', 'l2')");
  const connections = await both("dropped");
  for (const { id } of connections) await world.synced(id);
  await query("ALTER TABLE dropped.t DROP COLUMN lose; INSERT INTO dropped.t VALUES (3, 'k3')");
  for (const { id, destination } of connections) {
    await world.synced(id);
    await assertLanded(world, destination, id, ["dropped.t"]);
    const [, { diff }] = await versions(id, "dropped", "t");
    assert.deepEqual(diff.dropped.map(({ name }) => name), ["lose"]);
  }
  const database = await world.service.d1(DATABASE);
  const { results } = await database.prepare("SELECT id, lose FROM c_dropped_dropped__t ORDER BY id").all();
  assert.deepEqual(results, [{ id: 1, lose: "l1" }, { id: 2, lose: "l2" }, { id: 3, lose: null }]);
});

test("a changed key reads the table again under the new key", async () => {
  await query("CREATE SCHEMA keyed; CREATE TABLE keyed.t (a integer PRIMARY KEY, b integer NOT NULL, v text); INSERT INTO keyed.t SELECT i, i % 3, 'v' || i FROM generate_series(1, 9) i");
  const connections = await both("keyed");
  for (const { id } of connections) await world.synced(id);
  await query("ALTER TABLE keyed.t DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (a, b); INSERT INTO keyed.t VALUES (1, 2, 'same a, another b')");
  for (const { id, destination } of connections) {
    const run = await world.synced(id);
    assert.equal(tableOf(run, "t").mode, "full");
    await assertLanded(world, destination, id, ["keyed.t"]);
    const [, { diff }] = await versions(id, "keyed", "t");
    assert.deepEqual(diff.key_change, { from: ["a"], to: ["a", "b"] });
  }
});

test("a table that is gone stays at the destination", async () => {
  await query("CREATE SCHEMA gone; CREATE TABLE gone.t (id integer PRIMARY KEY); INSERT INTO gone.t VALUES (1); CREATE TABLE gone.other (id integer PRIMARY KEY)");
  const connections = await both("gone");
  for (const { id } of connections) await world.synced(id);
  await query("DROP TABLE gone.t");
  for (const { id } of connections) {
    const run = await world.synced(id);
    assert.deepEqual(run.tables.map(({ table }) => table), ["other"]);
  }
  const { results } = await (await world.service.d1(DATABASE)).prepare("SELECT count(*) AS n FROM c_gone_gone__t").all();
  assert.deepEqual(results, [{ n: 1 }]);
  assert.equal((await manifestOf(world.service, "c_gone_gone", "t")).total_rows, 1);
});

test("ALLOW_COLUMNS takes new columns and leaves new tables out", async () => {
  await query("CREATE SCHEMA cols; CREATE TABLE cols.a (id integer PRIMARY KEY); INSERT INTO cols.a VALUES (1)");
  const [, { id }] = await both("cols", { schema_change_handling: "ALLOW_COLUMNS" });
  await world.synced(id);
  await query("ALTER TABLE cols.a ADD COLUMN extra text; UPDATE cols.a SET extra = 'e'; CREATE TABLE cols.b (id integer PRIMARY KEY)");
  const run = await world.synced(id);
  assert.deepEqual(run.tables.map(({ table }) => table), ["a"]);
  await assertLanded(world, "r2", id, ["cols.a"]);
  const { schemas } = await world.ok("GET", `/v1/connections/${id}/schemas`);
  assert.deepEqual([schemas.cols.tables.a.enabled, schemas.cols.tables.b.enabled], [true, false]);

  await world.ok("PATCH", `/v1/connections/${id}/schemas/cols/tables/b`, { enabled: true });
  assert.deepEqual((await world.synced(id)).tables.map(({ table }) => table).sort(), ["a", "b"]);
});

test("ALLOW_COLUMNS leaves a new schema off, until a person switches it on", async () => {
  await query("CREATE SCHEMA early; CREATE TABLE early.a (id integer PRIMARY KEY); INSERT INTO early.a VALUES (1)");
  const config = { schema_prefix: "c_early", schemas: ["early", "late"] };
  const { id } = await world.connection(groups.r2, { schema_change_handling: "ALLOW_COLUMNS", config });
  await world.synced(id);
  await query("CREATE SCHEMA late; CREATE TABLE late.b (id integer PRIMARY KEY); INSERT INTO late.b VALUES (1)");
  assert.deepEqual((await world.synced(id)).tables.map(({ table }) => table), ["a"]);
  const { schemas } = await world.ok("GET", `/v1/connections/${id}/schemas`);
  assert.deepEqual([schemas.early.enabled, schemas.late.enabled], [true, false]);
  await world.ok("PATCH", `/v1/connections/${id}/schemas/late`, { enabled: true, tables: { b: { enabled: true } } });
  assert.deepEqual((await world.synced(id)).tables.map(({ table }) => table).sort(), ["a", "b"]);
});

test("BLOCK_ALL leaves new columns out as well, until a person switches them on", async () => {
  await query("CREATE SCHEMA block; CREATE TABLE block.a (id integer PRIMARY KEY, known text); INSERT INTO block.a VALUES (1, 'k')");
  const [{ id }] = await both("block", { schema_change_handling: "BLOCK_ALL" });
  await world.synced(id);
  await query("ALTER TABLE block.a ADD COLUMN secret text DEFAULT 's'; CREATE TABLE block.b (id integer PRIMARY KEY)");
  const run = await world.synced(id);
  assert.deepEqual(run.tables.map(({ table }) => table), ["a"]);
  const database = await world.service.d1(DATABASE);
  const columns = async () => Object.keys(await database.prepare("SELECT * FROM c_block_block__a").first()).filter((name) => !name.startsWith("_"));
  assert.deepEqual(await columns(), ["id", "known"]);

  await world.ok("PATCH", `/v1/connections/${id}/schemas/block/tables/a/columns/secret`, { enabled: true });
  await world.synced(id);
  await assertLanded(world, "d1", id, ["block.a"]);
});

test("tables and columns switched off do not travel, hashed ones not in clear", async () => {
  await query(`CREATE SCHEMA pick; CREATE TABLE pick.people (id integer PRIMARY KEY, email text, salary integer, name text);
    INSERT INTO pick.people VALUES (1, 'ada@example.com', 100, 'Ada'), (2, NULL, 200, 'Bob'), (3, 'ada@example.com', 300, 'Cy'); CREATE TABLE pick.off (id integer PRIMARY KEY)`);
  const [{ id }] = await both("pick");
  await world.ok("POST", `/v1/connections/${id}/schemas/reload`, {});
  await world.ok("PATCH", `/v1/connections/${id}/schemas`, {
    schemas: { pick: { tables: { off: { enabled: false }, people: { columns: { salary: { enabled: false }, email: { hashed: true } } } } } },
  });
  const run = await world.synced(id);
  assert.deepEqual(run.tables.map(({ table }) => table), ["people"]);
  const { results } = await (await world.service.d1(DATABASE)).prepare("SELECT * FROM c_pick_pick__people ORDER BY id").all();
  assert.ok(results.every((row) => !("salary" in row)));
  assert.equal(results[0].email, results[2].email, "equal values hash alike");
  assert.equal(results[1].email, null);
  assert.doesNotMatch(results[0].email, /ada/);
});

test("the destination is migrated before data: what it cannot take stops the table and nothing else", async () => {
  await query("CREATE SCHEMA limits; CREATE TABLE limits.fine (id integer PRIMARY KEY); INSERT INTO limits.fine VALUES (1); CREATE TABLE limits.grows (id integer PRIMARY KEY)");
  const [{ id }] = await both("limits");
  await world.synced(id);
  const columns = Array.from({ length: 100 }, (_, at) => `ADD COLUMN c${at} integer`).join(", ");
  await query(`ALTER TABLE limits.grows ${columns}; INSERT INTO limits.grows (id, c99) VALUES (1, 1); INSERT INTO limits.fine VALUES (2)`);
  const run = await world.sync(id);
  assert.equal(run.state, "FAILURE_WITH_TASK");
  assert.equal(tableOf(run, "fine").state, "published");
  assert.equal(tableOf(run, "grows").state, "failed");
  assert.equal(tableOf(run, "grows").counts.read, 0, "nothing was read for a table that cannot be");
  assert.match(tableOf(run, "grows").error.message, /103 columns, and d1 takes 100/);
  await assertLanded(world, "d1", id, ["limits.fine"]);
  await query("ALTER TABLE limits.grows DROP COLUMN c0, DROP COLUMN c1, DROP COLUMN c2");
  successful(await world.sync(id));
  await assertLanded(world, "d1", id, ["limits.grows"]);
});
