// Very many connections at once: two hundred small ones are due in the same minute while a large one is being read. All of
// them run, in the order of their due times, once each, and none waits for the large one to end.
import assert from "node:assert/strict";
import { before, test } from "node:test";
import { BUCKET, DATABASE, manifestOf } from "./support/landed.mjs";
import { parseMetrics } from "./support/metrics.mjs";
import { startWorld, successful, until } from "./support/world.mjs";

const SMALL = 200;
const LARGE = 250_000;
const SECOND = 1_000_000;
/** Nothing is asserted about seconds: this only ends a test that hangs, on however slow a machine. */
const PATIENCE_MS = 300_000;
const world = await startWorld({ postgres: { settings: { shared_buffers: "256MB" } } });
const control = await world.service.d1("DB");
const groups = {};

before(async () => {
  await world.pg.query(`
    CREATE TABLE tiny (id integer PRIMARY KEY, v text); INSERT INTO tiny SELECT i, 'v' || i FROM generate_series(1, 3) i;
    CREATE TABLE large AS SELECT i AS id, repeat(md5(i::text), 25) AS pad FROM generate_series(1, ${LARGE}) i; ALTER TABLE large ADD PRIMARY KEY (id)`);
  groups.d1 = await world.destination("d1", { binding: DATABASE });
  groups.r2 = await world.destination("r2", { bucket: BUCKET });
});

const rows = async (sql, ...params) => (await control.prepare(sql).bind(...params).all()).results;

const connect = (destination, name, table) =>
  world.connection(groups[destination], { config: { schema_prefix: name, tables: [`public.${table}`] }, run_setup_tests: false, schedule_type: "auto", sync_frequency: 360 });

/** Which of so many queues a connection's messages take: FNV-1a, as `Message::queue_of`. */
function queueOf(id, queues) {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(id)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return hash % queues;
}

test("two hundred connections that are due in one minute all run once, in order, while a large one runs", async () => {
  const made = [];
  for (let at = 0; at < SMALL; at += 20) {
    made.push(...(await Promise.all(Array.from({ length: 20 }, (_, n) => connect(n % 2 ? "r2" : "d1", `c${at + n}`, "tiny")))));
  }
  // Due times a second's fraction apart, in an order that is not the one of their creation.
  const base = (Math.floor(Date.now() / 60_000) - 1) * 60 * SECOND;
  const order = made.map(({ id }, at) => ({ id, turn: (at * 79) % SMALL }));
  await control.batch(order.map(({ id, turn }) =>
    control.prepare("UPDATE connections SET setup_state = 'connected', next_due_at = ?2 WHERE id = ?1").bind(id, base + turn * 1000)));
  const large = await connect("r2", "large", "large");
  await world.ok("POST", `/v1/connections/${large.id}/sync`, {});
  await until(async () => (await world.progress(large.id))?.phase === "reading", "the large one to be read");

  const began = Date.now();
  await Promise.all([world.service.cron(), world.service.cron()]);
  const ended = await until(async () => {
    const [{ n }] = await rows("SELECT COUNT(*) AS n FROM sync_runs WHERE connection_id <> ?1 AND state <> 'RUNNING'", large.id);
    return n >= SMALL && (Date.now() - began) / 1000;
  }, "all small ones to end", PATIENCE_MS);

  const runs = await rows("SELECT connection_id AS id, state, started_at, trigger_kind FROM sync_runs WHERE connection_id <> ?1 ORDER BY started_at, rowid", large.id);
  assert.equal(runs.length, SMALL, "none twice");
  assert.equal(new Set(runs.map(({ id }) => id)).size, SMALL);
  assert.deepEqual([...new Set(runs.map(({ state }) => state))], ["SUCCESSFUL"]);
  assert.deepEqual([...new Set(runs.map(({ trigger_kind }) => trigger_kind))], ["schedule"]);
  // A queue of this machine serves one message at a time, so within it nobody overtakes; the queues are equally long.
  const turns = new Map(order.map(({ id, turn }) => [id, turn]));
  for (const queue of [0, 1, 2, 3]) {
    const started = runs.filter(({ id }) => queueOf(id, 4) === queue).map(({ id }) => turns.get(id));
    assert.ok(started.length > SMALL / 16, `queue ${queue} has ${started.length}`);
    assert.deepEqual(started, started.toSorted((a, b) => a - b), `queue ${queue}`);
  }
  const d1 = await world.service.d1(DATABASE);
  for (const at of [0, 57 * 2, 199]) {
    if (at % 2) assert.equal((await manifestOf(world.service, `c${at}_public`, "tiny")).total_rows, 3);
    else assert.equal((await d1.prepare(`SELECT COUNT(*) AS n FROM c${at}_public__tiny`).first()).n, 3);
  }

  // The large one ends well, too: nobody has starved it, and it has not held up the others.
  const run = successful(await world.ended(large.id, undefined, PATIENCE_MS));
  const [table] = run.tables;
  assert.equal(table.counts.written, LARGE);
  assert.ok(table.attempts >= table.chunks_planned && table.rows_per_second > 0, JSON.stringify(table));
  assert.equal(table.eta_seconds, null);
  const [{ n: before }] = await rows("SELECT COUNT(*) AS n FROM sync_runs WHERE ended_at < (SELECT ended_at FROM sync_runs WHERE connection_id = ?1)", large.id);
  console.log(`${SMALL} small syncs beside a large one took ${ended.toFixed(1)} s; ${before} of them ended before it did`);
  // Its chunks and the small ones take turns, so at least the heads of the queues pass it. How many more is the machine's.
  assert.ok(before > 0, "no small one ended before the large one");
});

test("the metrics and the log of the crowd are for machines", async () => {
  const basic = `Basic ${Buffer.from(`${world.service.apiKey}:${world.service.apiSecret}`).toString("base64")}`;
  const answer = await fetch(`${world.service.url}/metrics`, { headers: { authorization: basic, accept: "application/openmetrics-text; version=1.0.0" } });
  assert.equal(answer.headers.get("content-type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");
  const metrics = parseMetrics(await answer.text());
  assert.equal(metrics.get('fivetran_runs_total{state="SUCCESSFUL"}'), SMALL + 1);
  assert.equal(metrics.get('fivetran_rows_total{kind="written"}'), SMALL * 3 + LARGE);
  assert.equal(metrics.get("fivetran_live_runs"), 0);
  assert.equal((await fetch(`${world.service.url}/metrics`)).status, 401);

  const lines = world.service.logs.map(({ message }) => message).filter((message) => message.startsWith("{")).map((message) => JSON.parse(message));
  const ends = lines.filter(({ event }) => event === "run_end");
  assert.ok(ends.length >= SMALL, `${ends.length} lines tell the end of a run`);
  assert.ok(ends.every(({ run_id, connection_id, level, state }) => run_id.startsWith(connection_id) && level === "INFO" && state === "SUCCESSFUL"));
  const [sweep] = lines.filter(({ event, started }) => event === "sweep" && started > 0);
  assert.ok(sweep.started > 0);
});
