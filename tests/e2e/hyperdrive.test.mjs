// A Hyperdrive binding as the way to the source, as on Cloudflare: the Worker is given a connection string that only
// workerd can resolve, and a pool (here Miniflare's stand-in for it) that speaks to the real server.
import assert from "node:assert/strict";
import { test } from "node:test";
import { BUCKET, assertLanded } from "./support/landed.mjs";
import { startWorld, tableOf } from "./support/world.mjs";

const world = await startWorld({
  service: ({ url }) => ({ configure: (worker) => (worker.hyperdrives = { SHOP: url }) }),
});

test("rows arrive through a Hyperdrive binding, first all of them, then only what changed", async () => {
  await world.pg.query("CREATE TABLE t AS SELECT i AS id, md5(i::text) AS v FROM generate_series(1, 20000) i; ALTER TABLE t ADD PRIMARY KEY (id)");
  const group = await world.destination("r2", { bucket: BUCKET });
  const made = await world.ok("POST", "/v1/connections", {
    group_id: group,
    service: "postgres",
    schedule_type: "manual",
    config: { hyperdrive: "SHOP", schema_prefix: "hyper", tables: ["public.t"] },
  });
  assert.equal(made.status.setup_state, "connected", JSON.stringify(made.setup_tests));
  await world.synced(made.id);
  await assertLanded(world, "r2", made.id, ["t"]);
  await world.pg.query("UPDATE t SET v = 'changed' WHERE id = 7; INSERT INTO t VALUES (20001, 'new')");
  assert.equal(tableOf(await world.synced(made.id), "t").counts.written, 2);
  await assertLanded(world, "r2", made.id, ["t"]);
});
