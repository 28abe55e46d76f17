// How a table keeps rows that change or vanish: every version, or only what there is; and edits that make it be read again.
import assert from "node:assert/strict";
import { test } from "node:test";
import { BUCKET, DATABASE, manifestOf, versionsIn } from "./support/landed.mjs";
import { startWorld, successful, tableOf } from "./support/world.mjs";

const world = await startWorld();
const d1 = await world.service.d1(DATABASE);

await world.pg.query(`
  CREATE TABLE people (id int PRIMARY KEY, name text, secret text);
  INSERT INTO people VALUES (1, 'Ada', 'a'), (2, 'Bob', 'b'), (3, 'Cyd', 'c');
  CREATE TABLE things (id int PRIMARY KEY, v text);
  INSERT INTO things VALUES (1, 'x'), (2, 'y'), (3, 'z');`);

const group = await world.destination("d1", { binding: DATABASE });
const { id } = await world.connection(group, { config: { schema_prefix: "modes" } });
await world.ok("POST", `/v1/connections/${id}/schemas/reload`, {});
const lakes = await world.destination("r2", { bucket: BUCKET, prefix: "modes" });
const { id: lake } = await world.connection(lakes, { config: { schema_prefix: "lake" } });
await world.ok("POST", `/v1/connections/${lake}/schemas/reload`, {});

const configure = (table, body, connection = id) => world.ok("PATCH", `/v1/connections/${connection}/schemas/public/tables/${table}`, body);
const rows = async (sql) => (await d1.prepare(sql).all()).results;
const versions = () =>
  rows("SELECT id, name, _fivetran_start AS s, _fivetran_end AS e, _fivetran_active AS active FROM modes_public__people ORDER BY id, s");
const equal = async (table, connection = id) => {
  const answer = await world.ok("POST", `/v1/connections/${connection}/reconcile`, { schema: "public", table });
  assert.ok(answer.equal, JSON.stringify(answer));
};
const FOREVER = "9999-12-31T23:59:59.999999Z";
const before = (instant) => new Date(Date.parse(instant) - 1).toISOString();

/** What there is in R2 of the same columns, times spelled as D1 has them. */
async function versionsInLake() {
  const spelled = (column) => `strftime(${column}, '%Y-%m-%dT%H:%M:%S.%fZ')`;
  const select = `id, name, ${spelled("_fivetran_start")}, ${spelled("_fivetran_end")}, _fivetran_active::INTEGER, secret`;
  const found = await versionsIn(world.service, "modes/", "lake_public", "people", select);
  return found.map(([id, name, s, e, active, secret]) => ({ id, name, s, e, active, secret }));
}

/** Versions with the number of the sync, of those that left a trace, that each began and ended with: equal in all destinations. */
function timeless(versions) {
  const starts = versions.map(({ s }) => s);
  const gone = versions.filter(({ active, e }) => !active && !starts.some((start) => before(start) === new Date(e).toISOString())).map(({ e }) => e);
  const syncs = [...new Set([...starts, ...gone])].sort();
  const ended = ({ e, active }) => (active ? e : syncs.includes(e) ? `with ${syncs.indexOf(e)}` : `before ${syncs.findIndex((start) => before(start) === new Date(e).toISOString())}`);
  return versions.map((version) => ({ id: version.id, name: version.name, began: syncs.indexOf(version.s), ended: ended(version), active: version.active }));
}

/** The same of both connections. */
const both = (act) => Promise.all([act(id), act(lake)]);

test("a table with history keeps every version, and a deleted row's last one is closed, in D1 and in R2", async () => {
  const configs = await both((connection) => configure("people", { sync_mode: "HISTORY" }, connection));
  for (const { schemas } of configs) {
    const table = schemas.public.tables.people;
    assert.deepEqual([table.sync_mode, table.supports_history_mode], ["HISTORY", true]);
  }
  await both(world.synced);
  let found = await versions();
  assert.deepEqual(found.map(({ id, name, e, active }) => [id, name, e, active]), [[1, "Ada", FOREVER, 1], [2, "Bob", FOREVER, 1], [3, "Cyd", FOREVER, 1]]);
  assert.deepEqual(timeless(await versionsInLake()), timeless(found));
  await both((connection) => equal("people", connection));
  await world.pg.query("UPDATE people SET name = 'Bobby' WHERE id = 2; UPDATE people SET name = 'Cyd' WHERE id = 3");
  await both(world.synced);
  found = await versions();
  // Written again with the same values, a row has no new version.
  assert.deepEqual(found.map(({ id, name, active }) => [id, name, active]), [[1, "Ada", 1], [2, "Bob", 0], [2, "Bobby", 1], [3, "Cyd", 1]]);
  const [, old, current] = found;
  assert.equal(new Date(old.e).toISOString(), before(current.s));
  assert.equal(current.e, FOREVER);
  assert.deepEqual(timeless(await versionsInLake()), timeless(found));
  await both((connection) => equal("people", connection));
  await world.pg.query("DELETE FROM people WHERE id = 1");
  for (const run of await both((connection) => world.resync(connection))) {
    assert.equal(tableOf(successful(run), "people").counts.deleted, 1);
  }
  found = await versions();
  assert.deepEqual(found.map(({ id, active }) => [id, active]), [[1, 0], [2, 0], [2, 1], [3, 1]]);
  assert.deepEqual(timeless(await versionsInLake()), timeless(found));
  await both((connection) => equal("people", connection));
  // It comes back: a version of its own, and the gap between stays.
  await world.pg.query("INSERT INTO people VALUES (1, 'Ada', 'a')");
  await both(world.synced);
  found = await versions();
  const [gone, back] = found.filter((version) => version.id === 1);
  assert.ok(gone.e < back.s && back.active === 1, JSON.stringify([gone, back]));
  assert.deepEqual(timeless(await versionsInLake()), timeless(found));
});

test("a live table holds what there is and nothing else, in D1 and in R2", async () => {
  await both(async (connection) => {
    await configure("things", { sync_mode: "LIVE" }, connection);
    await world.synced(connection);
  });
  await world.pg.query("DELETE FROM things WHERE id = 2; UPDATE things SET v = 'zz' WHERE id = 3");
  await both(async (connection) => {
    const run = successful(await world.resync(connection));
    assert.equal(tableOf(run, "things").counts.deleted, connection === id ? 1 : 0);
    await equal("things", connection);
  });
  assert.deepEqual(await rows("SELECT id, v FROM modes_public__things ORDER BY id"), [{ id: 1, v: "x" }, { id: 3, v: "zz" }]);
  const manifest = await manifestOf(world.service, "lake_public", "things", "modes/");
  assert.deepEqual([manifest.live_rows, manifest.total_rows, manifest.parts.map(({ kind }) => kind)], [2, 2, ["full"]]);
  assert.ok(!manifest.columns.some(({ name }) => name === "_fivetran_deleted"));
});

test("what changes the look of rows that are there makes the next sync read the table again", async () => {
  const modesOf = () => both(async (connection) => tableOf(await world.synced(connection), "people").mode);
  const full = ["full", "full"];
  const incremental = ["incremental", "incremental"];
  const edit = (body) => both((connection) => configure("people", body, connection));
  const same = async () => assert.deepEqual(timeless(await versionsInLake()), timeless(await versions()));
  assert.deepEqual(await modesOf(), incremental);
  await edit({ columns: { secret: { hashed: true } } });
  assert.deepEqual(await modesOf(), full);
  assert.deepEqual(await modesOf(), incremental, "once");
  const [{ clear }] = await rows("SELECT count(*) AS clear FROM modes_public__people WHERE _fivetran_active = 1 AND length(secret) <> 64");
  assert.equal(clear, 0);
  assert.ok((await versionsInLake()).every(({ active, secret }) => !active || /^[0-9a-f]{64}$/.test(secret)));
  await edit({ columns: { name: { enabled: false } } });
  assert.deepEqual(await modesOf(), incremental, "switching off needs none");
  await world.pg.query("UPDATE people SET name = 'unseen' WHERE id = 3; UPDATE people SET id = id WHERE id = 2");
  const unseen = (await versions()).length;
  await both(world.synced);
  assert.equal((await versions()).length, unseen, "without the column nothing changed");
  await same();
  await edit({ columns: { name: { enabled: true } } });
  assert.deepEqual(await modesOf(), full);
  await same();
  assert.deepEqual((await versionsInLake()).filter(({ id, active }) => id === 3 && active).map(({ name }) => name), ["unseen"]);
  await both((connection) => equal("people", connection));
  // Back to one row per key: what the history held goes with it.
  await edit({ sync_mode: "SOFT_DELETE" });
  assert.deepEqual(await modesOf(), full);
  const [{ n }] = await rows("SELECT count(*) AS n FROM modes_public__people WHERE _fivetran_deleted IS NOT 1");
  const manifest = await manifestOf(world.service, "lake_public", "people", "modes/");
  assert.deepEqual([n, manifest.live_rows, manifest.total_rows, manifest.history], [3, 3, 3, undefined]);
  await both((connection) => equal("people", connection));
});
