// How a table keeps rows that change or vanish: every version, or only what there is; and edits that make it be read again.
import assert from "node:assert/strict";
import { test } from "node:test";
import { BUCKET, DATABASE } from "./support/landed.mjs";
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

test("a table with history keeps every version, and a deleted row's last one is closed", async () => {
  const config = await configure("people", { sync_mode: "HISTORY" });
  const table = config.schemas.public.tables.people;
  assert.deepEqual([table.sync_mode, table.supports_history_mode], ["HISTORY", true]);
  await world.synced(id);
  let found = await versions();
  assert.deepEqual(found.map(({ id, name, e, active }) => [id, name, e, active]), [[1, "Ada", FOREVER, 1], [2, "Bob", FOREVER, 1], [3, "Cyd", FOREVER, 1]]);
  await equal("people");
  await world.pg.query("UPDATE people SET name = 'Bobby' WHERE id = 2; UPDATE people SET name = 'Cyd' WHERE id = 3");
  await world.synced(id);
  found = await versions();
  // Written again with the same values, a row has no new version.
  assert.deepEqual(found.map(({ id, name, active }) => [id, name, active]), [[1, "Ada", 1], [2, "Bob", 0], [2, "Bobby", 1], [3, "Cyd", 1]]);
  const [, old, current] = found;
  assert.equal(new Date(old.e).toISOString(), before(current.s));
  assert.equal(current.e, FOREVER);
  await equal("people");
  await world.pg.query("DELETE FROM people WHERE id = 1");
  const run = successful(await world.resync(id));
  assert.equal(tableOf(run, "people").counts.deleted, 1);
  assert.deepEqual((await versions()).map(({ id, active }) => [id, active]), [[1, 0], [2, 0], [2, 1], [3, 1]]);
  await equal("people");
  // It comes back: a version of its own, and the gap between stays.
  await world.pg.query("INSERT INTO people VALUES (1, 'Ada', 'a')");
  await world.synced(id);
  const [gone, back] = (await versions()).filter((version) => version.id === 1);
  assert.ok(gone.e < back.s && back.active === 1, JSON.stringify([gone, back]));
});

test("a live table holds what there is and nothing else, in D1 and in R2", async () => {
  const lake = await world.destination("r2", { bucket: BUCKET, prefix: "modes" });
  const { id: other } = await world.connection(lake, { config: { schema_prefix: "live", tables: ["public.things"] } });
  await world.ok("POST", `/v1/connections/${other}/schemas/reload`, {});
  const refused = await world.service.api("PATCH", `/v1/connections/${other}/schemas/public/tables/things`, { sync_mode: "HISTORY" });
  assert.deepEqual([refused.status, refused.body.code], [400, "InvalidInput"]);
  for (const connection of [id, other]) {
    await configure("things", { sync_mode: "LIVE" }, connection);
    await world.synced(connection);
  }
  await world.pg.query("DELETE FROM things WHERE id = 2; UPDATE things SET v = 'zz' WHERE id = 3");
  for (const connection of [id, other]) {
    const run = successful(await world.resync(connection));
    assert.equal(tableOf(run, "things").counts.deleted, connection === id ? 1 : 0);
    await equal("things", connection);
  }
  assert.deepEqual(await rows("SELECT id, v FROM modes_public__things ORDER BY id"), [{ id: 1, v: "x" }, { id: 3, v: "zz" }]);
  const bucket = await world.service.r2(BUCKET);
  const manifest = JSON.parse(await (await bucket.get("modes/live_public/things/manifest.json")).text());
  assert.deepEqual([manifest.live_rows, manifest.total_rows, manifest.parts.map(({ kind }) => kind)], [2, 2, ["full"]]);
  assert.ok(!manifest.columns.some(({ name }) => name === "_fivetran_deleted"));
});

test("what changes the look of rows that are there makes the next sync read the table again", async () => {
  const modeOf = async () => tableOf(await world.synced(id), "people").mode;
  assert.equal(await modeOf(), "incremental");
  await configure("people", { columns: { secret: { hashed: true } } });
  assert.equal(await modeOf(), "full");
  assert.equal(await modeOf(), "incremental", "once");
  const [{ clear }] = await rows("SELECT count(*) AS clear FROM modes_public__people WHERE _fivetran_active = 1 AND length(secret) <> 64");
  assert.equal(clear, 0);
  await configure("people", { columns: { name: { enabled: false } } });
  assert.equal(await modeOf(), "incremental", "switching off needs none");
  await world.pg.query("UPDATE people SET name = 'unseen' WHERE id = 3");
  await world.synced(id);
  await configure("people", { columns: { name: { enabled: true } } });
  assert.equal(await modeOf(), "full");
  await equal("people");
  // Back to one row per key: what the history held goes with it.
  await configure("people", { sync_mode: "SOFT_DELETE" });
  assert.equal(await modeOf(), "full");
  const [{ n }] = await rows("SELECT count(*) AS n FROM modes_public__people WHERE _fivetran_deleted IS NOT 1");
  assert.equal(n, 3);
  await equal("people");
});
