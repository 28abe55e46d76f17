// The life of a connection, told the same way for every destination.
import assert from "node:assert/strict";
import { test } from "node:test";
import pg from "pg";
import { assertLanded } from "./landed.mjs";
import { CHANGES, DELETES, TABLES, everyTable } from "./tables.mjs";
import { successful, tableOf } from "./world.mjs";

/**
 * Full sync, changes, incremental sync, deletes, re-sync; after each, every value is compared.
 *
 * @param {"d1" | "r2"} destination
 * @param {object} config Of the destination.
 * @param {string} prefix Under which an R2 destination writes.
 */
export function tellStory(world, destination, config, prefix = "") {
  let id;
  const landed = (tables = TABLES) => assertLanded(world, destination, id, tables, { prefix });

  test("a full sync lands every value of every table", async () => {
    await world.pg.query(everyTable());
    const group = await world.destination(destination, config);
    ({ id } = await world.connection(group, { config: { schema_prefix: "shop" } }));
    const run = await world.synced(id);
    assert.deepEqual(run.tables.map(({ table }) => table).sort(), TABLES.map((name) => name.split(".").pop()).sort());
    assert.ok(run.tables.every(({ mode, state }) => mode === "full" && state === "published"));
    for (const table of await landed()) assert.equal(table.deleted.length, 0);
  });

  test("an incremental sync moves what changed and nothing else", async () => {
    await world.pg.query(CHANGES.sql);
    const run = await world.synced(id);
    for (const [table, rows] of Object.entries(CHANGES.touched)) {
      assert.equal(tableOf(run, table).mode, "incremental", table);
      assert.equal(tableOf(run, table).counts.read, rows, table);
    }
    await landed();
  });

  test("a sync of nothing new reads nothing of tables", async () => {
    const run = await world.synced(id);
    for (const table of Object.keys(CHANGES.touched)) assert.equal(tableOf(run, table).counts.read, 0, table);
    await landed();
  });

  test("a re-sync marks what is gone, and keeps its last values", async () => {
    await world.pg.query(DELETES.sql);
    const run = successful(await world.resync(id));
    for (const [table, rows] of Object.entries(DELETES.gone)) {
      assert.equal(tableOf(run, table).mode, "full", table);
      assert.equal(tableOf(run, table).counts.deleted, rows, table);
    }
    const tables = await landed();
    for (const [table, rows] of Object.entries(DELETES.gone)) {
      const { deleted } = tables[TABLES.indexOf(table)];
      assert.equal(deleted.length, rows, table);
    }
    const orders = tables[TABLES.indexOf("orders")].deleted;
    assert.deepEqual(orders.map(([key]) => Number(key)).sort((a, b) => a - b), [1, 501, 1001, 1501, 2001, 2501, 3001, 3501, 4001, 4501]);
    assert.ok(orders.every(([, customer]) => customer.startsWith("customer ")));
  });

  test("a row that comes back is live again, and a re-sync twice over changes nothing", async () => {
    await world.pg.query("INSERT INTO two_keys VALUES ('C', 2, 99); INSERT INTO orders (id, customer, placed) VALUES (1, 'back', now())");
    await world.synced(id);
    const [two, orders] = await landed(["two_keys", "orders"]);
    assert.deepEqual([two.deleted.length, orders.deleted.length], [2, 9]);
    successful(await world.resync(id, { public: ["two_keys", "orders"] }));
    const again = await landed();
    assert.deepEqual(["two_keys", "orders"].map((table) => again[TABLES.indexOf(table)].deleted.length), [2, 9]);
  });

  test("i2_a_row_committed_late_is_not_lost", async () => {
    const slow = new pg.Client({ connectionString: world.pg.url });
    await slow.connect();
    try {
      await slow.query("BEGIN");
      await slow.query("INSERT INTO orders (id, customer, placed, updated_at) VALUES (9001, 'late', now(), '2020-01-01')");
      await slow.query("UPDATE measurements SET value = 77 WHERE sensor = 10");
      // Younger transactions commit and are synced before the older one does.
      await world.pg.query("UPDATE orders SET note = 'younger' WHERE id = 2");
      await world.synced(id);
      await landed(["orders", "measurements"]);
      await slow.query("COMMIT");
    } finally {
      await slow.end();
    }
    await world.synced(id);
    await landed(["orders", "measurements"]);
  });

  test("rows with equal cursor values are not lost where a cursor column is named", async () => {
    await world.pg.query(`CREATE TABLE ticks (id integer PRIMARY KEY, seen timestamptz NOT NULL, v text);
      CREATE INDEX ON ticks (seen); INSERT INTO ticks SELECT i, '2024-01-01Z', 'v' FROM generate_series(1, 20) i`);
    const group = await world.destination(destination, config);
    const { id: ticks } = await world.connection(group, {
      config: { schema_prefix: "ticks", tables: ["public.ticks"], cursor_columns: { "public.ticks": "seen" } },
    });
    const same = async () => assertLanded(world, destination, ticks, ["ticks"], { prefix });
    await world.synced(ticks);
    await same();
    await world.pg.query("INSERT INTO ticks VALUES (21, '2024-01-01Z', 'equal'), (22, '2024-01-02Z', 'later'); UPDATE ticks SET v = 'same time' WHERE id = 5");
    const run = await world.synced(ticks);
    assert.equal(tableOf(run, "ticks").mode, "incremental");
    await same();
  });
}
