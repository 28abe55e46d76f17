// A control plane over two databases, as wrangler.toml binds them: connections of both are started by the clock, sync, and
// are one list; the history of each is where it lives, and nowhere else.
import assert from "node:assert/strict";
import { test } from "node:test";
import { DATABASE, assertLanded } from "./support/landed.mjs";
import { startWorld, successful, until } from "./support/world.mjs";

const world = await startWorld({ service: { controlDatabases: 2 } });

/** Where an id says that its object lives. */
const homeOf = (id) => (id.startsWith("0b") ? "DB_2" : "DB");

const count = async (database, sql) => (await (await world.service.d1(database)).prepare(sql).first()).n;

test("connections of two databases are started by the clock, arrive, and are one list", async () => {
  await world.pg.query("CREATE TABLE shared (id integer PRIMARY KEY, v text); INSERT INTO shared SELECT i, 'v' || i FROM generate_series(1, 100) i");
  const groups = {};
  for (let tries = 0; Object.keys(groups).length < 2; tries += 1) {
    assert.ok(tries < 64, "no group came into one of two databases");
    const group = await world.destination("d1", { binding: DATABASE });
    groups[homeOf(group)] ??= group;
  }
  const connections = {};
  for (const [home, group] of Object.entries(groups)) {
    const config = { schema_prefix: `in_${home.toLowerCase()}`, tables: ["public.shared"] };
    const { id } = await world.connection(group, { schedule_type: "auto", sync_frequency: 1440, config });
    assert.equal(homeOf(id), home);
    connections[home] = id;
  }
  await world.service.cron();
  for (const [home, id] of Object.entries(connections)) {
    successful(await until(async () => {
      const run = await world.progress(id);
      return run && run.state !== "RUNNING" && run;
    }, `the first run in ${home}`));
    await assertLanded(world, "d1", id, ["shared"]);
    assert.equal(await count(home, `SELECT COUNT(*) AS n FROM sync_runs WHERE connection_id = '${id}'`), 1);
    assert.equal(await count(home === "DB" ? "DB_2" : "DB", `SELECT COUNT(*) AS n FROM sync_runs WHERE connection_id = '${id}'`), 0);
  }
  const { items } = await world.ok("GET", "/v1/connections?limit=100");
  assert.deepEqual(items.map(({ id }) => id).sort(), Object.values(connections).sort());
  for (const [home, id] of Object.entries(connections)) {
    await world.ok("DELETE", `/v1/connections/${id}`);
    assert.equal(await count(home, "SELECT COUNT(*) AS n FROM sync_runs"), 0);
    assert.equal(await count(home, "SELECT COUNT(*) AS n FROM deleted_connections"), 1);
  }
});
