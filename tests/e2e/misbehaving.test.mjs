// Sources that misbehave on the way, end to end: a proxy between workerd and Postgres breaks connections off, falls silent
// or drips. Whatever it does, a run that calls itself successful has every row. Faults that need an eye for the protocol,
// and tables that change under a read, are in tests/postgres/misbehaving.rs.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { BUCKET, DATABASE, assertLanded } from "./support/landed.mjs";
import { startProxy } from "./support/proxy.mjs";
import { startWorld, successful, tableOf, until } from "./support/world.mjs";

const MIB = 1024 * 1024;
const ROWS = 4_000;
const world = await startWorld({ service: { inspectObjects: true } });
const proxy = await startProxy(world.pg.port);
const groups = {};
let throttled;

after(() => proxy.stop());

before(async () => {
  // One chunk of 14 MB, which is two batches.
  await world.pg.query(`CREATE TABLE t (id integer PRIMARY KEY, n bigint, pad text); ALTER TABLE t ALTER pad SET STORAGE PLAIN;
    INSERT INTO t SELECT i, i * 7919::bigint, repeat(md5(i::text), 110) FROM generate_series(1, ${ROWS}) i`);
  groups.r2 = await world.destination("r2", { bucket: BUCKET });
  groups.d1 = await world.destination("d1", { binding: DATABASE });
  throttled = await crowded();
});

/** Starts a sync of `t` through the proxy with a fault in the middle of its COPY; gives the connection's id. */
async function synced(destination, fault, config = {}) {
  const { id } = await world.connection(groups[destination], {
    config: { schema_prefix: `${destination}_${fault.kind}`, tables: ["public.t"], port: proxy.port, ...config },
  });
  proxy.arm({ after: 10 * MIB, ...fault });
  await world.ok("POST", `/v1/connections/${id}/sync`, {});
  await until(() => proxy.struck(), `the ${fault.kind}`);
  return id;
}

/** What the table's reading failed with, while it is tried again. */
const firstError = (id) => until(async () => (await world.progress(id))?.tables[0]?.error, "the error to show", 30_000);

async function arrived(destination, id) {
  const run = successful(await world.ended(id));
  assert.equal(tableOf(run, "t").counts.written, ROWS);
  assert.equal((await world.ok("GET", `/v1/connections/${id}/runs`)).items.length, 1, "within one run");
  await assertLanded(world, destination, id, ["t"]);
}

for (const [kind, destination] of [["reset", "r2"], ["end", "d1"], ["end", "r2"], ["reset", "d1"]]) {
  test(`i5_a connection that breaks in the middle of a COPY (${kind}, ${destination}) is read again, to the last row`, async () => {
    const id = await synced(destination, { kind });
    const error = await firstError(id);
    assert.equal(error.kind, "source_unavailable");
    assert.match(error.message, /reading public\.t/);
    await arrived(destination, id);
  });
}

test("a source that falls silent is given up after its time, told so, and read again", async () => {
  const began = Date.now();
  const id = await synced("r2", { kind: "silence" }, { query_timeout_seconds: 5 });
  const error = await firstError(id);
  assert.equal(error.kind, "source_unavailable");
  assert.match(error.message, /reading public\.t: .*it sent nothing for 15 s/);
  assert.ok(Date.now() - began > 15_000);
  await arrived("r2", id);
});

test("i4_a source that drips keeps its worker's lease and arrives", async () => {
  const id = await synced("d1", { kind: "drip", ms: 45_000 });
  const { id: run } = await world.progress(id);
  const leased = async () => {
    const [order] = await world.service.objectSql("SyncDo", run, "SELECT lease_until, attempt FROM orders WHERE state = 'leased' AND kind = 'read'");
    return order;
  };
  const first = await leased();
  const prolonged = async () => {
    const order = await leased();
    return order.lease_until > first.lease_until && order;
  };
  const later = await until(prolonged, "the lease to be prolonged while hardly a byte comes", 40_000);
  assert.deepEqual([first.attempt, later.attempt], [1, 1]);
  await arrived("d1", id);
});

/** A connection whose role may not log in: six attempts take half a minute, which need not be waited for. */
async function crowded() {
  await world.pg.query("CREATE ROLE crowded LOGIN PASSWORD 'crowded'; GRANT SELECT ON t TO crowded");
  const { id } = await world.connection(groups.r2, { config: { schema_prefix: "crowded", tables: ["public.t"], user: "crowded", password: "crowded" } });
  await world.pg.query("ALTER ROLE crowded CONNECTION LIMIT 0");
  await world.ok("POST", `/v1/connections/${id}/sync`, {});
  return id;
}

test("a source with no connection to spare: the sync is rescheduled, the connection says for when, and then it goes on", async () => {
  const id = throttled;
  const run = await world.ended(id);
  assert.equal(run.state, "RESCHEDULED", JSON.stringify(run));
  assert.equal(run.error.kind, "source_throttled");
  assert.match(run.error.message, /53300/);
  const { status, failed_at: failed } = await world.ok("GET", `/v1/connections/${id}`);
  assert.equal(status.sync_state, "rescheduled");
  const wait = Date.parse(status.rescheduled_for) - Date.parse(run.ended_at);
  assert.ok(wait > 59_000 && wait < 61_000, `${wait} ms`);
  assert.equal(failed, null);
  // Its minute is over.
  const past = (Date.now() - 1_000) * 1_000;
  await (await world.service.d1("DB")).prepare("UPDATE connections SET next_due_at = ?2, rescheduled_for = ?2 WHERE id = ?1").bind(id, past).run();
  await world.pg.query("ALTER ROLE crowded CONNECTION LIMIT 5");
  await world.service.cron();
  successful(await world.ended(id, run.id));
  await assertLanded(world, "r2", id, ["t"]);
  assert.equal((await world.ok("GET", `/v1/connections/${id}`)).status.rescheduled_for, null);
});
