// What breaks in the middle: the source, the runtime, messages. Whatever it is, committed data stays consistent, and the
// run goes on from what is durable or ends with a reason.
import assert from "node:assert/strict";
import { before, test } from "node:test";
import { BUCKET, DATABASE, assertLanded, manifestOf } from "./support/landed.mjs";
import { startWorld, successful, tableOf, until } from "./support/world.mjs";

const world = await startWorld({ service: { inspectObjects: true } });
const groups = {};

before(async () => {
  groups.r2 = await world.destination("r2", { bucket: BUCKET });
  groups.d1 = await world.destination("d1", { binding: DATABASE });
});

/** A table of several chunks of 64 MiB: 3.5 KB a row, kept in line so that the heap is as large. */
async function bigTable(name, rows = 75_000) {
  await world.pg.query(`CREATE TABLE ${name} (id integer PRIMARY KEY, n bigint, pad text);
    ALTER TABLE ${name} ALTER pad SET STORAGE PLAIN;
    INSERT INTO ${name} SELECT i, i * 7919::bigint, repeat(md5(i::text), 110) FROM generate_series(1, ${rows}) i`);
  return name;
}

/** A connection that moves that table and no other. */
const connect = (destination, table, { prefix = `${destination}_${table}`, ...more } = {}) =>
  world.connection(groups[destination], { ...more, config: { schema_prefix: prefix, tables: [`public.${table}`] } });

/** Starts a sync and waits until some chunks are durable and some are not. */
async function halfWay(id) {
  await world.ok("POST", `/v1/connections/${id}/sync`, {});
  return until(async () => {
    const run = await world.progress(id);
    const table = run?.tables[0];
    if (run && run.state !== "RUNNING") throw new Error("the run was over before its middle was seen");
    return table && table.chunks_done > 0 && table.chunks_done < table.chunks_planned - 1 && run;
  }, "the middle of a run");
}

/** Gives leases a minute and a half: nobody waits for that in a test. What a lease is held to is `lease_until`. */
const leasesRunOut = (runId) =>
  world.service.objectSql("SyncDo", runId, "UPDATE orders SET lease_until = 0 WHERE state = 'leased'");

/** Makes a run look silent to the cron, as it would after three minutes. */
const fallSilent = async (runId) =>
  (await world.service.d1("DB")).prepare("UPDATE sync_runs SET active_at = 0 WHERE id = ?1").bind(runId).run();

const rowsAt = async (id) => (await world.ok("GET", `/v1/connections/${id}/runs`)).items;

test("a source that is killed in the middle of a table and comes back: the run goes on from what is durable", async () => {
  const table = await bigTable("killed");
  const { id } = await connect("r2", table);
  const middle = await halfWay(id);
  await world.pg.crash();
  try {
    await until(async () => (await world.progress(id)).tables[0].error, "the error to show while it is retried");
    const { chunks_done: before } = (await world.progress(id)).tables[0];
    assert.ok(before >= middle.tables[0].chunks_done, "what is durable stays durable");
  } finally {
    await world.pg.start();
  }
  const run = successful(await world.ended(id));
  assert.equal(run.id, middle.id, "it is the same run");
  assert.equal(tableOf(run, table).counts.written, 75_000);
  await assertLanded(world, "r2", id, [table]);
});

test("a source that stays away: FAILURE with the reason, and what was published before stays as it was", async () => {
  await world.pg.query("CREATE TABLE away (id integer PRIMARY KEY); INSERT INTO away SELECT generate_series(1, 100)");
  const { id } = await connect("r2", "away");
  await world.synced(id);
  const published = await manifestOf(world.service, "r2_away_public", "away");
  await world.pg.query("INSERT INTO away VALUES (101)");
  const before = (await world.progress(id)).id;
  await world.pg.crash();
  await world.ok("POST", `/v1/connections/${id}/sync`, {});
  const run = await world.endedSoon(id, before).finally(() => world.pg.start());
  assert.equal(run.state, "FAILURE");
  assert.equal(run.error.kind, "source_unavailable");
  assert.match(run.error.message, /127\.0\.0\.1/);
  assert.match(run.error.remedy, /host.*port.*firewall/);
  const now = await world.ok("GET", `/v1/connections/${id}`);
  assert.ok(now.failed_at > now.succeeded_at);
  assert.deepEqual((await manifestOf(world.service, "r2_away_public", "away")).parts, published.parts);
  await world.synced(id);
  await assertLanded(world, "r2", id, ["away"]);
});

test("a run that cannot go on without a person ends with a task, and other tables arrive", async () => {
  const table = await bigTable("unreadable");
  await world.pg.query(`CREATE TABLE bystander (id integer PRIMARY KEY); INSERT INTO bystander VALUES (1);
    CREATE ROLE reader LOGIN PASSWORD 'reader'; GRANT SELECT ON unreadable, bystander TO reader`);
  const { id } = await world.connection(groups.r2, {
    config: { schema_prefix: "task", user: "reader", password: "reader", tables: ["public.unreadable", "public.bystander"] },
  });
  await world.ok("POST", `/v1/connections/${id}/sync`, {});
  await until(async () => (await world.progress(id))?.tables.some(({ chunks_done, table: name }) => name === table && chunks_done > 0), "a chunk");
  await world.pg.query("REVOKE SELECT ON unreadable FROM reader");
  const run = await world.ended(id);
  assert.equal(run.state, "FAILURE_WITH_TASK", JSON.stringify(run.tables));
  assert.equal(tableOf(run, "bystander").state, "published");
  assert.equal(tableOf(run, table).state, "failed");
  assert.equal(tableOf(run, table).error.kind, "source_permission");
  const { status } = await world.ok("GET", `/v1/connections/${id}`);
  assert.equal(status.setup_state, "broken");
  assert.match(status.tasks[0].message, /GRANT/);
  assert.equal((await manifestOf(world.service, "task_public", table)).total_rows, 0, "half a table is not published");
  const { items } = await world.ok("GET", `/v1/connections/${id}/logs`);
  assert.ok(items.some(({ event, level }) => event === "sync_end" && level !== "INFO"), JSON.stringify(items.at(-1)));
  await world.pg.query("GRANT SELECT ON unreadable TO reader");
  await world.synced(id);
  await assertLanded(world, "r2", id, [table, "bystander"]);
});

for (const destination of ["r2", "d1"]) {
  test(`i3_the_runtime_is_killed_in_the_middle_and_the_run_goes_on (${destination})`, async () => {
    const table = await bigTable(`crash_${destination}`, destination === "d1" ? 60_000 : 75_000);
    const { id } = await connect(destination, table);
    const middle = await halfWay(id);
    await world.service.kill();
    // Messages are gone with the runtime; leases and receipts are not.
    const after = await world.progress(id);
    assert.equal(after.state, "RUNNING");
    assert.ok(after.tables[0].chunks_done >= middle.tables[0].chunks_done);
    await leasesRunOut(middle.id);
    await fallSilent(middle.id);
    await world.service.cron();
    const run = successful(await world.ended(id));
    assert.equal(run.id, middle.id);
    await assertLanded(world, destination, id, [table]);
  });
}

test("a restart between two syncs forgets nothing", async () => {
  await world.pg.query("CREATE TABLE steady (id integer PRIMARY KEY, v text); INSERT INTO steady SELECT i, 'v' FROM generate_series(1, 50) i");
  const { id } = await connect("d1", "steady");
  await world.synced(id);
  await world.service.restart();
  await world.pg.query("UPDATE steady SET v = 'new' WHERE id = 7");
  const run = await world.synced(id);
  assert.equal(tableOf(run, "steady").mode, "incremental");
  assert.equal(tableOf(run, "steady").counts.read, 1);
  await assertLanded(world, "d1", id, ["steady"]);
});

test("i1_two_starts_at_once_are_one_run", async () => {
  await world.pg.query("CREATE TABLE once (id integer PRIMARY KEY); INSERT INTO once SELECT generate_series(1, 1000)");
  const { id } = await connect("d1", "once");
  const answers = await Promise.all(Array.from({ length: 8 }, () => world.service.api("POST", `/v1/connections/${id}/sync`, {})));
  assert.deepEqual([...new Set(answers.map(({ status }) => status))], [200]);
  assert.equal(answers.filter(({ body }) => /successfully triggered/.test(body.message)).length, 1);
  await world.ended(id);
  assert.equal((await rowsAt(id)).length, 1);
});

test("i1_force_cancels_the_live_run_and_starts_another", async () => {
  const { id } = await connect("r2", "killed", { prefix: "forced" });
  const first = await halfWay(id);
  await world.ok("POST", `/v1/connections/${id}/sync`, { force: true });
  const second = successful(await world.ended(id, first.id));
  const runs = await rowsAt(id);
  assert.deepEqual(runs.map(({ state }) => state), ["CANCELED", "SUCCESSFUL"]);
  assert.equal(runs[1].id, second.id);
  await assertLanded(world, "r2", id, ["killed"]);
});

test("i3_duplicate_late_and_unknown_messages_change_nothing", async () => {
  await world.pg.query("CREATE TABLE twice (id integer PRIMARY KEY, v integer); INSERT INTO twice SELECT i, i FROM generate_series(1, 5000) i");
  const { id } = await connect("d1", "twice", { schedule_type: "auto", sync_frequency: 60 });
  const { JOBS } = await world.service.mf.getBindings();
  const { next_due_at: due } = await (await world.service.d1("DB")).prepare("SELECT next_due_at FROM connections WHERE id = ?1").bind(id).first();
  const start = { kind: "start", connection_id: id, due_at: due };
  await Promise.all(Array.from({ length: 5 }, () => JOBS.send(start)));
  const first = await until(() => world.progress(id), "a run");
  await Promise.all(Array.from({ length: 10 }, () => JOBS.send({ kind: "work", run_id: first.id })));
  successful(await world.ended(id));
  // Late: its run is over, its due time was served.
  await Promise.all([start, { kind: "work", run_id: first.id }, { kind: "work", run_id: "nobody.7" }, { kind: "start", connection_id: "nobody", due_at: 1 }, { kind: "nonsense" }, 7]
    .map((message) => JOBS.send(message)));
  const next = await world.synced(id);
  assert.notEqual(next.id, first.id);
  assert.equal((await rowsAt(id)).length, 2);
  const [{ deleted }] = await assertLanded(world, "d1", id, ["twice"]);
  assert.equal(deleted.length, 0);
});

test("i4_a_worker_that_lost_its_lease_cannot_commit", async () => {
  const { id } = await connect("d1", "crash_d1", { prefix: "taken_over" });
  const middle = await halfWay(id);
  // Another worker takes over while the first one, which knows nothing of it, goes on.
  await leasesRunOut(middle.id);
  const { JOBS } = await world.service.mf.getBindings();
  await JOBS.send({ kind: "work", run_id: middle.id });
  const run = successful(await world.ended(id, undefined, 120_000));
  assert.equal(tableOf(run, "crash_d1").counts.written, 60_000);
  await assertLanded(world, "d1", id, ["crash_d1"]);
});
