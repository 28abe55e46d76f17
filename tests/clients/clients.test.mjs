// Clients made for Fivetran, as they are on PyPI, against the service: only the base URL differs. Each lists, syncs, polls
// to completion, sees a schema change and re-syncs; after each sync the destination is compared with the source.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";
import { DATABASE, assertLanded } from "../e2e/support/landed.mjs";
import { startWorld, successful } from "../e2e/support/world.mjs";
import { drive } from "./client.mjs";

const world = await startWorld();
const home = mkdtempSync(path.join(tmpdir(), "fivetran-clients-"));
let group;

before(async () => {
  group = await world.destination("d1", { binding: DATABASE });
  // pyfivetran knows only regions of Fivetran.
  await world.ok("PATCH", `/v1/destinations/${group}`, { region: "GCP_US_EAST4" });
});
after(() => rmSync(home, { recursive: true, force: true }));

/** The story of one client, in a schema of the source of its own. */
function tell(client, { paused = false, resyncs = true } = {}) {
  return async () => {
    const orders = `${client}.orders`;
    await world.pg.query(`CREATE SCHEMA ${client}; CREATE TABLE ${orders} (id integer PRIMARY KEY, total numeric(10,2));
      INSERT INTO ${orders} SELECT i, i / 4.0 FROM generate_series(1, 500) i;
      CREATE TABLE ${client}.customers (id integer PRIMARY KEY, email text); INSERT INTO ${client}.customers VALUES (1, 'a@example.com')`);
    const { id } = await world.connection(group, { schedule_type: "auto", paused: true, config: { schema_prefix: `from_${client}`, schemas: [client] } });
    // Learnt before the first sync: Dagster wants tables, and has no call that asks the source.
    await world.ok("POST", `/v1/connections/${id}/schemas/reload`, {});
    // By the clock from here on, unless the client shall see a paused one: a new connection is due at once, and these
    // clients start their syncs themselves.
    if (!paused) await world.ok("PATCH", `/v1/connections/${id}`, { paused: false });
    const lastRun = async () => successful(await world.progress(id));
    let first;
    await drive(
      client,
      {
        HOME: home,
        FIVETRAN_URL: world.service.url,
        FIVETRAN_KEY: world.service.apiKey,
        FIVETRAN_SECRET: world.service.apiSecret,
        FIVETRAN_GROUP: group,
        FIVETRAN_CONNECTION: id,
        FIVETRAN_SCHEMA: `from_${client}`,
      },
      {
        async synced() {
          first = await lastRun();
          await assertLanded(world, "d1", id, [orders, `${client}.customers`]);
          await world.pg.query(`ALTER TABLE ${orders} ADD COLUMN currency text DEFAULT 'EUR'; INSERT INTO ${orders} VALUES (501, 1.25, 'USD');
            CREATE TABLE ${client}.refunds (id integer PRIMARY KEY); INSERT INTO ${client}.refunds VALUES (7)`);
        },
        async changed() {
          assert.notEqual((await lastRun()).id, first.id);
          await assertLanded(world, "d1", id, [orders, `${client}.customers`, `${client}.refunds`]);
          await world.pg.query(`DELETE FROM ${orders} WHERE id <= 100`);
        },
        async resynced() {
          if (!resyncs) await world.resync(id);
          await lastRun();
          const [{ deleted }] = await assertLanded(world, "d1", id, [orders, `${client}.customers`, `${client}.refunds`]);
          assert.equal(deleted.length, 100, "a re-sync marks what is gone");
          assert.equal((await world.ok("GET", `/v1/connections/${id}`)).paused, false);
        },
      },
    );
  };
}

test("dagster-fivetran drives the service", tell("dagster"));
test("airflow-provider-fivetran-async drives the service", tell("airflow", { paused: true }));
test("fivetran-mcp drives the service", tell("mcp"));
test("prefect-fivetran drives the service", tell("prefect", { paused: true, resyncs: false }));
test("pyfivetran drives the service", tell("pyfivetran"));
test("shipyard-fivetran drives the service", tell("shipyard"));
