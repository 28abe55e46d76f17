// What people do while a sync runs: cancel, pause, re-sync, edit, delete. Each is answered at once, ends in a state that
// is defined, and leaves nothing behind. A trap holds the worker in the middle of a chunk meanwhile.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { BUCKET, DATABASE, assertLanded } from "./support/landed.mjs";
import { Traps, consume } from "./support/traps.mjs";
import { startWorld, successful, tableOf, until } from "./support/world.mjs";

/** A worker tells of progress every two seconds; it learns then that its run is over. */
const HEARTBEAT_MS = 2_100;

/** An answer that did not wait for the lease of a worker in a trap, which is 90 seconds, however slow the machine. */
const AT_ONCE_MS = 30_000;

const traps = new Traps();
const world = await startWorld({ service: { inspectObjects: true, configure: traps.configure } });
const groups = {};
let tables = 0;

before(async () => {
  groups.r2 = await world.destination("r2", { bucket: BUCKET });
  groups.d1 = await world.destination("d1", { binding: DATABASE });
});
after(() => traps.release(500));

/** A connection with one small table of its own, not synced yet. */
async function connect(destination, more = {}) {
  const table = `t${(tables += 1)}`;
  await world.pg.query(`CREATE TABLE ${table} (id integer PRIMARY KEY, secret text, v text);
    INSERT INTO ${table} SELECT i, 'secret ' || i, 'v' FROM generate_series(1, 20) i`);
  const { id } = await world.connection(groups[destination] ?? destination, {
    config: { schema_prefix: `p_${table}`, tables: [`public.${table}`] },
    ...more,
  });
  return { id, table, destination };
}

const post = (id, path, body = {}) => world.ok("POST", `/v1/connections/${id}/${path}`, body);
const patch = (id, body) => world.ok("PATCH", `/v1/connections/${id}`, body);
const history = async (id) => (await world.ok("GET", `/v1/connections/${id}/runs`)).items.map(({ state }) => state);

/** Starts a sync and waits until its worker stands at that point. Gives the run's id. */
async function stopped(id, point = "after_stage") {
  const caught = traps.arm(id, point);
  const { run_id: run } = await post(id, "sync");
  // Miniflare's broker has one consumer, which an earlier test's worker may have kept.
  void consume(world.service, { kind: "work", run_id: run });
  await caught;
  return run;
}

/** Lets the worker go on once its next heartbeat is due. */
async function goOn() {
  await sleep(HEARTBEAT_MS);
  traps.release();
}

/** The run's worker, let go in the middle of a chunk, did not store its end. */
const stoppedThere = (run) =>
  assert.ok(!traps.passed.some(({ point, id }) => id === run && point === "after_put"), "the worker of the old run went on");

/** How long something takes, in milliseconds. */
async function timed(action) {
  const began = Date.now();
  const answer = await action();
  return { answer, ms: Date.now() - began };
}

const ended = (id, run) => until(async () => (await world.progress(id))?.id !== run || (await world.progress(id)).state !== "RUNNING", `the end of ${run}`);

test("a pause stops a running sync at once, and the next one goes on from what is durable", async () => {
  const { id, table } = await connect("d1");
  const run = await stopped(id);
  const { ms } = await timed(() => patch(id, { paused: true }));
  assert.ok(ms < AT_ONCE_MS, `answered after ${ms} ms`);
  assert.equal((await world.progress(id)).state, "CANCELED");
  const { status } = await world.ok("GET", `/v1/connections/${id}`);
  assert.equal(status.sync_state, "paused");
  await goOn();
  await patch(id, { paused: false });
  await world.synced(id);
  assert.deepEqual(await history(id), ["CANCELED", "SUCCESSFUL"]);
  stoppedThere(run);
  await assertLanded(world, "d1", id, [table]);
});

test("i1_force_replaces_a_run_whose_worker_is_in_the_middle_of_a_chunk", async () => {
  const { id, table } = await connect("r2");
  const run = await stopped(id);
  const { answer, ms } = await timed(() => post(id, "sync", { force: true }));
  assert.ok(ms < AT_ONCE_MS, `answered after ${ms} ms`);
  assert.notEqual(answer.run_id, run);
  await goOn();
  const second = successful(await world.ended(id, run));
  assert.equal(second.id, answer.run_id);
  stoppedThere(run);
  assert.deepEqual(await history(id), ["CANCELED", "SUCCESSFUL"]);
  await assertLanded(world, "r2", id, [table]);
});

test("a re-sync replaces a running sync, and reads everything", async () => {
  const { id, table } = await connect("d1");
  await world.synced(id);
  await world.pg.query(`DELETE FROM ${table} WHERE id = 3; UPDATE ${table} SET v = 'w' WHERE id = 4`);
  const run = await stopped(id);
  const { run_id: next } = await post(id, "resync");
  await goOn();
  const second = successful(await world.ended(id, run));
  assert.equal(second.id, next);
  stoppedThere(run);
  assert.equal(tableOf(second, table).mode, "full");
  assert.equal(tableOf(second, table).counts.deleted, 1);
  await assertLanded(world, "d1", id, [table]);
});

test("a new configuration starts a running sync over, under the new one alone", async () => {
  const { id, table } = await connect("r2");
  await world.pg.query(`CREATE TABLE more_${table} (id integer PRIMARY KEY); INSERT INTO more_${table} VALUES (1)`);
  const run = await stopped(id);
  await patch(id, { config: { tables: [`public.${table}`, `public.more_${table}`] } });
  await goOn();
  const second = successful(await world.ended(id, run));
  assert.equal(second.tables.length, 2);
  stoppedThere(run);
  assert.deepEqual(await history(id), ["CANCELED", "SUCCESSFUL"]);
  await assertLanded(world, "r2", id, [table, `more_${table}`]);
});

test("a run never goes on under another configuration than it was planned for, even if nobody tells it", async () => {
  const { id, table } = await connect("d1");
  const run = await stopped(id, "after_versions");
  // What a crash between saving an edit and restarting the run leaves.
  const db = await world.service.d1("DB");
  await db.prepare("UPDATE connections SET sync_mode = 'full' WHERE id = ?1").bind(id).run();
  traps.release();
  await ended(id, run);
  assert.equal((await world.progress(id)).state, "CANCELED");
  await world.synced(id);
  await assertLanded(world, "d1", id, [table]);
});

test("i3_an_edit_of_schema_settings_that_was_cut_short_still_stops_the_run_it_was_made_in", async () => {
  const { id, table } = await connect("d1");
  const run = await stopped(id, "after_plan");
  const caught = traps.arm(id, "after_edit");
  const column = `schemas/public/tables/${table}/columns/secret`;
  const edit = world.ok("PATCH", `/v1/connections/${id}/${column}`, { hashed: true }).catch(() => "lost");
  await caught;
  // The edit ends here, stored and not told to the run; the run's worker finds out by itself.
  traps.release(500);
  assert.equal(await edit, "lost");
  await ended(id, run);
  assert.equal((await world.progress(id)).state, "CANCELED");
  await world.synced(id);
  const db = await world.service.d1(DATABASE);
  const count = `SELECT count(*) AS rows, sum(secret LIKE 'secret %') AS clear FROM p_${table}_public__${table}`;
  assert.deepEqual(await db.prepare(count).first(), { rows: 20, clear: 0 });
});

test("a new schedule leaves a running sync alone", async () => {
  const { id, table } = await connect("d1");
  const run = await stopped(id);
  await patch(id, { schedule_type: "auto", sync_frequency: 60 });
  traps.release();
  const same = successful(await world.ended(id));
  assert.equal(same.id, run);
  await assertLanded(world, "d1", id, [table]);
});

test("i6_a_column_that_is_hashed_while_a_sync_runs_does_not_go_on_in_clear", async () => {
  const { id, table } = await connect("d1");
  await world.ok("POST", `/v1/connections/${id}/schemas/reload`, {});
  const run = await stopped(id);
  await world.ok("PATCH", `/v1/connections/${id}/schemas/public/tables/${table}`, { columns: { secret: { hashed: true } } });
  await goOn();
  successful(await world.ended(id, run));
  stoppedThere(run);
  const db = await world.service.d1(DATABASE);
  const { results } = await db.prepare(`SELECT secret FROM p_${table}_public__${table}`).all();
  assert.equal(results.length, 20);
  assert.deepEqual(results.filter(({ secret }) => secret.includes("secret")), []);
});

test("i8_a_connection_deleted_in_the_middle_of_a_sync_leaves_its_tables_and_nothing_else", async () => {
  const { id, table } = await connect("d1");
  await world.synced(id);
  await world.pg.query(`UPDATE ${table} SET v = 'w'`);
  const run = await stopped(id, "after_claim");
  const { ms } = await timed(() => world.ok("DELETE", `/v1/connections/${id}`));
  assert.ok(ms < AT_ONCE_MS, `answered after ${ms} ms`);
  traps.release();
  await sleep(500);
  await nothingOf(id, run);
  const db = await world.service.d1(DATABASE);
  assert.equal(await db.prepare(`SELECT count(*) AS rows FROM p_${table}_public__${table}`).first("rows"), 20);
  // Late messages find nothing and bring nothing back.
  await consume(world.service, { kind: "work", run_id: run });
  await consume(world.service, { kind: "start", connection_id: id, due_at: Date.now() * 1000 });
  await nothingOf(id, run);
});

/** Neither rows in the control plane nor anything in the objects of a connection and its last run. */
async function nothingOf(id, run) {
  assert.equal((await world.service.api("GET", `/v1/connections/${id}`)).status, 404);
  const db = await world.service.d1("DB");
  for (const table of ["sync_runs", "log_events", "stream_versions", "stream_settings"]) {
    const count = `SELECT count(*) AS rows FROM ${table} WHERE connection_id = ?1`;
    assert.equal(await db.prepare(count).bind(id).first("rows"), 0, table);
  }
  assert.equal(await db.prepare("SELECT count(*) AS rows FROM run_tables WHERE run_id = ?1").bind(run).first("rows"), 0);
  assert.equal(await stored("ConnectorDo", id), 0, "ConnectorDo");
  assert.equal(await stored("SyncDo", run), 0, "SyncDo");
}

/** Rows of all tables of an object. */
async function stored(className, name) {
  const names = await world.service.objectSql(className, name, "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_cf%' ESCAPE '\\'");
  const counts = await Promise.all(
    rowsOf(names).map(async ({ name: table }) => rowsOf(await world.service.objectSql(className, name, `SELECT count(*) AS rows FROM ${table}`))[0].rows),
  );
  return counts.reduce((sum, rows) => sum + rows, 0);
}

const rowsOf = (result) => (Array.isArray(result) ? result : (result.results ?? result.rows ?? [...result]));

test("i8_a_deleted_destination_leaves_the_users_tables", async () => {
  const group = await world.destination("d1", { binding: DATABASE });
  const { id, table } = await connect(group);
  await world.synced(id);
  const refused = await world.service.api("DELETE", `/v1/destinations/${group}`);
  assert.equal(refused.status, 409, JSON.stringify(refused.body));
  assert.ok((await stored("DestinationDo", group)) > 0);
  await world.ok("DELETE", `/v1/connections/${id}`);
  await world.ok("DELETE", `/v1/destinations/${group}`);
  assert.equal(await stored("DestinationDo", group), 0);
  const db = await world.service.d1(DATABASE);
  assert.equal(await db.prepare(`SELECT count(*) AS rows FROM p_${table}_public__${table}`).first("rows"), 20);
});

test("i1_a_start_that_was_killed_half_way_is_taken_up_by_the_next_request", async () => {
  const { id, table } = await connect("r2");
  const caught = traps.arm(id, "after_open");
  const request = post(id, "sync").catch(() => "lost");
  await caught;
  await world.service.kill();
  traps.release(500);
  assert.equal(await request, "lost");
  const run = await world.synced(id);
  assert.equal(run.id, `${id}.1`);
  assert.deepEqual(await history(id), ["SUCCESSFUL"]);
  await assertLanded(world, "r2", id, [table]);
});

test("i1_a_cancellation_that_was_killed_half_way_is_finished_by_the_next_request", async () => {
  const { id, table } = await connect("d1");
  const run = await stopped(id);
  const caught = traps.arm(id, "after_cancel");
  const request = post(id, "sync", { force: true }).catch(() => "lost");
  await caught;
  await world.service.kill();
  traps.release(500);
  assert.equal(await request, "lost");
  const { run_id: next } = await post(id, "sync", { force: true });
  assert.notEqual(next, run);
  successful(await world.ended(id, run));
  assert.deepEqual(await history(id), ["CANCELED", "SUCCESSFUL"]);
  await assertLanded(world, "d1", id, [table]);
});

test("i8_a_deletion_that_was_killed_half_way_is_finished_by_the_next_request", async () => {
  const { id, table } = await connect("d1");
  const run = await world.synced(id);
  const caught = traps.arm(id, "after_delete");
  const request = world.ok("DELETE", `/v1/connections/${id}`).catch(() => "lost");
  await caught;
  await world.service.kill();
  traps.release(500);
  assert.equal(await request, "lost");
  const again = await world.service.api("DELETE", `/v1/connections/${id}`);
  assert.equal(again.status, 404, "its definition is gone already");
  await nothingOf(id, run.id);
  const db = await world.service.d1(DATABASE);
  assert.equal(await db.prepare(`SELECT count(*) AS rows FROM p_${table}_public__${table}`).first("rows"), 20);
});
