// The clock: what starts a sync, and what does not. Tests fire the cron trigger themselves, and to let hours pass they
// move a connection's due time in the control plane, because a Worker's clock cannot be turned.
import assert from "node:assert/strict";
import { before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { BUCKET } from "./support/landed.mjs";
import { startWorld, successful, until } from "./support/world.mjs";

const MINUTE = 60_000_000;
const world = await startWorld();
let group;
let connections = 0;

before(async () => {
  await world.pg.query("CREATE TABLE t (id integer PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 10)");
  group = await world.destination("r2", { bucket: BUCKET });
});

const connect = (schedule) =>
  world.connection(group, { schedule_type: undefined, ...schedule, config: { schema_prefix: `s${(connections += 1)}` } });

const runs = async (id) => (await world.ok("GET", `/v1/connections/${id}/runs`)).items;

/** Microseconds, from the control plane. */
const due = async (id) =>
  (await (await world.service.d1("DB")).prepare("SELECT next_due_at FROM connections WHERE id = ?1").bind(id).first()).next_due_at;

/** Lets time pass until the connection is this overdue; a due time never repeats, so hours must not pass twice. */
const overdue = async (id, minutes) => {
  const at = Math.floor(Date.now() / 60_000) * MINUTE - minutes * MINUTE;
  await (await world.service.d1("DB")).prepare("UPDATE connections SET next_due_at = ?2 WHERE id = ?1").bind(id, at).run();
  return at;
};

/** A connection whose first due time was so many minutes ago. */
const connectLate = async (schedule, minutes) => {
  const made = await connect(schedule);
  await overdue(made.id, minutes);
  return made;
};

/** Long enough for a run to show that should not be there. */
const A_MOMENT_MS = 1_000;

/** Fires the cron and waits for what it started; false when nothing starts in that time. */
async function tick(id, patienceMs) {
  const before = (await runs(id)).length;
  await world.service.cron();
  try {
    await until(async () => (await runs(id)).length > before, "a run", patienceMs);
  } catch {
    return false;
  }
  await until(async () => (await runs(id)).every(({ state }) => state !== "RUNNING"), "its end");
  return true;
}

test("the cron starts a new connection at once, and again when its time has come", async () => {
  const { id } = await connect({ sync_frequency: 5 });
  assert.equal((await runs(id)).length, 0, "nothing but the clock starts it");
  const first = await due(id);
  assert.equal(first % MINUTE, 0, "due times are whole minutes");
  assert.ok(first <= Date.now() * 1000, "it is due at once");
  assert.ok(await tick(id));
  const [run] = await runs(id);
  assert.equal(run.trigger, "schedule");
  assert.equal(run.state, "SUCCESSFUL");
  assert.equal(await due(id), first + 5 * MINUTE, "no turn is skipped");
  assert.ok(!(await tick(id, A_MOMENT_MS)), "before its time nothing starts");
  const late = await connectLate({ sync_frequency: 5 }, 60);
  assert.ok(await tick(late.id));
  await overdue(late.id, 2);
  assert.ok(await tick(late.id));
  assert.equal((await runs(late.id)).length, 2);
});

test("a phrase is the same as the fields", async () => {
  const quarter = await connect({ schedule: "every 15 minutes" });
  assert.equal(quarter.sync_frequency, 15);
  assert.equal(quarter.schedule_type, "auto");
  assert.ok(await tick(quarter.id));
  assert.ok((await due(quarter.id)) <= (Date.now() + 15 * 60_000) * 1000);
  const daily = await connect({ schedule: "every day at 03:00", paused: true });
  assert.deepEqual([daily.sync_frequency, daily.daily_sync_time], [1440, "03:00"]);
  const manual = await connect({ schedule: "manual" });
  assert.equal(manual.schedule_type, "manual");
});

test("paused and manual connections are left alone", async () => {
  const manual = await connect({ schedule_type: "manual" });
  assert.equal(await due(manual.id), null);
  const paused = await connect({ sync_frequency: 1, paused: true });
  assert.equal(await due(paused.id), null);
  await overdue(paused.id, 10);
  await overdue(manual.id, 10);
  await world.service.cron();
  await sleep(1_000);
  assert.equal((await runs(manual.id)).length, 0);
  assert.equal((await runs(paused.id)).length, 0);

  const refused = await world.service.api("POST", `/v1/connections/${paused.id}/sync`, {});
  assert.equal(refused.status, 409);
  await world.ok("PATCH", `/v1/connections/${paused.id}`, { paused: false });
  assert.ok(await tick(paused.id), "resumed, it is due at once");
  successful(await world.sync(manual.id));
  assert.equal(await due(manual.id), null, "a manual sync sets no clock");
});

test("missed minutes are caught up once", async () => {
  const { id } = await connectLate({ sync_frequency: 5 }, 300);
  assert.ok(await tick(id));
  await overdue(id, 180);
  assert.ok(await tick(id));
  assert.ok((await due(id)) > Date.now() * 1000, "three hours are not caught up minute by minute");
  assert.equal((await runs(id)).length, 2);
  // The same message again, as a queue may deliver it: its due time was served.
  await overdue(id, 180);
  assert.ok(!(await tick(id, A_MOMENT_MS)));
  assert.equal((await runs(id)).length, 2);
});

test("i1_a_connection_that_runs_is_not_started_again_by_the_clock", async () => {
  const { id } = await connect({ sync_frequency: 1 });
  await overdue(id, 3);
  await Promise.all([world.service.cron(), world.service.cron(), world.service.cron()]);
  await until(async () => (await runs(id)).some(({ state }) => state === "SUCCESSFUL"), "a run");
  await sleep(500);
  assert.equal((await runs(id)).length, 1);
});

test("a broken connection is tried again by the clock and mends itself", async () => {
  const { id } = await connectLate({ sync_frequency: 1 }, 60);
  assert.ok(await tick(id));
  await world.pg.query("ALTER TABLE t RENAME TO hidden; CREATE VIEW t AS SELECT 1 / (SELECT 0) AS id");
  await overdue(id, 30);
  assert.ok(await tick(id));
  let now = await world.ok("GET", `/v1/connections/${id}`);
  assert.equal(now.status.setup_state, "broken", JSON.stringify(now.status));
  assert.equal(now.status.tasks.length, 1);
  await world.pg.query("DROP VIEW t; ALTER TABLE hidden RENAME TO t");
  await overdue(id, 20);
  assert.ok(await tick(id));
  now = await world.ok("GET", `/v1/connections/${id}`);
  assert.deepEqual([now.status.setup_state, now.status.sync_state, now.status.tasks], ["connected", "scheduled", []]);
  assert.ok(now.succeeded_at > now.failed_at);
});

test("pausing cancels a run and what is durable stays", async () => {
  await world.pg.query("CREATE TABLE slow AS SELECT i AS id, repeat('x', 900) AS pad FROM generate_series(1, 300000) i; ALTER TABLE slow ADD PRIMARY KEY (id)");
  const { id } = await connect({ schedule_type: "manual" });
  await world.ok("POST", `/v1/connections/${id}/sync`, {});
  await until(async () => (await world.progress(id))?.tables.some(({ chunks_done }) => chunks_done > 0), "a chunk");
  await world.ok("PATCH", `/v1/connections/${id}`, { paused: true });
  const run = await world.ended(id);
  assert.equal(run.state, "CANCELED");
  assert.equal((await world.ok("GET", `/v1/connections/${id}`)).status.sync_state, "paused");
  await world.ok("PATCH", `/v1/connections/${id}`, { paused: false });
  const next = await world.synced(id);
  assert.equal(next.tables.find(({ table }) => table === "slow").counts.written, 300_000);
  await world.pg.query("DROP TABLE slow");
});
