// `kill -9` of the runtime at every border between two effects, for every destination and kind of run: the same state
// comes back, the cron heals, and then the destination equals the source, the next run moves what changed and nothing
// else, and history tells one success per run.
//
// One kill ends up to six runs, each in a trap at its own point: only one worker of an isolate moves data at a time, so
// one of them may stand where data is moved, and the others stand elsewhere.
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { BUCKET, DATABASE, copyOfLake, currentState, manifestOf, readJobs } from "./support/landed.mjs";
import { FAULT_POINTS, Traps, consume } from "./support/traps.mjs";
import { assertSameRows, sourceRows } from "./support/values.mjs";
import { startWorld, until } from "./support/world.mjs";

/** Points at which the worker holds its isolate's turn to move data. */
const MOVING = ["after_claim", "after_read", "after_stage", "after_put", "after_commit", "before_publish", "during_publish", "after_swap", "after_publish"];

/** Points that a run meets once for each table (or more often): the incremental run dies at the second one. */
const REPEATED = [...MOVING, "after_lease", "after_plan", "after_ddl", "before_report", "after_report", "before_wake", "before_ack", "after_ack"];

/** What cannot be reached, and why. */
const UNREACHABLE = {
  after_swap: { d1: "a D1 table has no manifest" },
  during_ddl: { r2: "announcing a run in R2 is one conditional put" },
  after_forget: { full: "only a new key makes a stream forget its cursor", incremental: "only a new key makes a stream forget its cursor" },
};

/** Points of what people do, which the tests of interruptions reach. */
const ELSEWHERE = ["after_cancel", "after_delete", "after_edit"];

/** A rebuild of a D1 table is cut short after each of its steps, not only after the first. */
const REBUILD_STEPS = [2, 3, 4, 5];

/** The cron's minute, in this test. */
const CRON_MS = 3_000;

/** After this long a point counts as not reached. */
const PATIENCE_MS = 120_000;

const DESTINATIONS = { d1: { binding: DATABASE }, r2: { bucket: BUCKET } };
const KINDS = ["full", "incremental", "schema"];

const traps = new Traps();
const world = await startWorld({ service: { inspectObjects: true, configure: traps.configure } });

/** One connection for each destination and kind of run. */
const subjects = [];
/** Every cell with its outcome. */
const cells = [];

before(async () => {
  for (const [destination, config] of Object.entries(DESTINATIONS)) {
    for (const kind of KINDS) subjects.push(await subject(destination, kind, config));
  }
  for (const one of subjects) await world.synced(one.id);
  await killEverywhere();
  await afterAll();
});
after(() => traps.release(500));

async function subject(destination, kind, config) {
  const name = `${kind}_${destination}`;
  // An analysis' transaction would move the horizon back, and a run would read a row more than changed.
  const columns = Array.from({ length: 8 }, (_, at) => `w${at} integer`).join(", ");
  await world.pg.query(`CREATE SCHEMA ${name};
    CREATE TABLE ${name}.a (id integer PRIMARY KEY, n bigint NOT NULL, v text, ${columns}) WITH (autovacuum_enabled = off);
    CREATE TABLE ${name}.b (id integer PRIMARY KEY, v text) WITH (autovacuum_enabled = off);
    INSERT INTO ${name}.a (id, n, v, w0, w7) SELECT i, i * 7, 'v' || i, i, i FROM generate_series(1, 40) i;
    INSERT INTO ${name}.b SELECT i, 'v' || i FROM generate_series(1, 10) i`);
  // The incremental run has a second table: it dies where the first one is settled and the second is not.
  const tables = kind === "incremental" ? ["a", "b"] : ["a"];
  // A destination of its own, so that schema changes of one do not wait for another's in a trap.
  const group = await world.destination(destination, config);
  const { id } = await world.connection(group, {
    schedule_type: "auto",
    sync_frequency: 1440,
    sync_mode: kind === "full" ? "full" : "incremental",
    config: { schema_prefix: "m", tables: tables.map((table) => `${name}.${table}`) },
  });
  return { id, name, destination, kind, tables, runs: 1, reshaped: 0, widened: 0, wideKey: false };
}

/** Changes the source as the cell wants it; gives how many rows of each table the next run must read. */
async function change(one, cell) {
  const { pg } = world;
  const { name } = one;
  let all = one.kind === "full";
  if (one.kind === "schema" && cell?.point === "after_forget") {
    one.wideKey = !one.wideKey;
    await pg.query(`ALTER TABLE ${name}.a DROP CONSTRAINT a_pkey, ADD PRIMARY KEY (id${one.wideKey ? ", n" : ""})`);
    all = true;
  } else if (one.kind === "schema" && cell?.point === "during_ddl" && one.widened < 8) {
    const column = `w${(one.widened += 1) - 1}`;
    await pg.query(`ALTER TABLE ${name}.a ALTER ${column} TYPE text USING ${column}::text || 'x'`);
    all = true;
  } else if (one.kind === "schema") {
    await pg.query(`ALTER TABLE ${name}.a ADD COLUMN c${(one.reshaped += 1)} text`);
    await pg.query(`UPDATE ${name}.a SET c${one.reshaped} = 'new' WHERE id = 5`);
  }
  await pg.query(`UPDATE ${name}.a SET v = v || '+' WHERE id IN (5, 6, 7);
    INSERT INTO ${name}.a (id, n, v) SELECT max(id) + 1, 0, 'added' FROM ${name}.a;
    UPDATE ${name}.b SET v = v || '+' WHERE id = 3`);
  const { rows } = await pg.query(`SELECT count(*)::int AS a FROM ${name}.a`);
  return { a: all ? rows[0].a : 4, b: 1 };
}

/** The cells in rounds: one kill each, with one connection at most where data is moved. */
function rounds() {
  const moving = new Map(subjects.map((one) => [one, []]));
  const others = new Map(subjects.map((one) => [one, []]));
  for (const point of FAULT_POINTS.filter((name) => !ELSEWHERE.includes(name))) {
    for (const one of subjects) {
      const why = UNREACHABLE[point]?.[one.destination] ?? UNREACHABLE[point]?.[one.kind];
      if (why) continue;
      const nth = one.kind === "incremental" && REPEATED.includes(point) ? 2 : 1;
      const steps = point === "during_ddl" && one.kind === "schema" ? [nth, ...REBUILD_STEPS] : [nth];
      for (const step of steps) {
        const cell = { point, one, nth: step, problem: "it was not tried" };
        cells.push(cell);
        (MOVING.includes(point) ? moving : others).get(one).push(cell);
      }
    }
  }
  const planned = [];
  for (let at = 0; [...moving.values(), ...others.values()].some((left) => left.length > 0); at += 1) {
    const turn = subjects.map((_, next) => subjects[(at + next) % subjects.length]).find((one) => moving.get(one).length > 0);
    const mover = turn && moving.get(turn).shift();
    const rest = subjects.filter((one) => one !== turn).map((one) => others.get(one).shift());
    planned.push({ mover, rest: rest.filter(Boolean) });
  }
  return planned;
}

async function killEverywhere() {
  for (const { mover, rest } of rounds()) {
    const together = [...rest, ...(mover ? [mover] : [])];
    await Promise.all(together.map(async (cell) => (cell.expected = await change(cell.one, cell))));
    await Promise.all(rest.map(intoTrap));
    if (mover) await intoTrap(mover);
    await world.service.kill();
    traps.release(500);
    await heal(together);
    await Promise.all(together.map(look));
  }
}

/**
 * Starts a run as the cron's message does and lets workers at it until one stands in the trap. Only who starts it by hand
 * needs somebody woken: a consumer that opens a run works on it itself.
 */
async function intoTrap(cell) {
  const { id } = cell.one;
  const run = `${id}.${(cell.one.runs += 1)}`;
  const due = Date.now() * 1000;
  const db = await world.service.d1("DB");
  await db.prepare("UPDATE connections SET next_due_at = ?2 WHERE id = ?1").bind(id, due).run();
  let caught = false;
  const trapped = traps.arm(id, cell.point, cell.nth).then(() => (caught = true));
  const start = cell.point === "before_wake"
    ? world.service.api("POST", `/v1/connections/${id}/sync`, {}).catch(() => {})
    : consume(world.service, { kind: "start", connection_id: id, due_at: due });
  const working = (async () => {
    await Promise.race([start, trapped]);
    while (!caught) {
      await Promise.race([consume(world.service, { kind: "work", run_id: run }), trapped]);
      if (!caught) await sleep(20);
    }
  })();
  const patience = sleep(PATIENCE_MS, "never", { ref: false });
  const outcome = await Promise.race([trapped, patience]);
  if (outcome === "never") {
    caught = true;
    cell.unreached = true;
  }
  await working;
}

/** What time and the cron do after a crash: leases run out, runs fall silent, the cron looks. */
async function heal(round) {
  const db = await world.service.d1("DB");
  const runs = round.map(({ one }) => `${one.id}.${one.runs}`);
  for (const run of runs) {
    const expire = "UPDATE orders SET lease_until = 0 WHERE state = 'leased'";
    // A run that was killed before its object existed has no such table.
    await world.service.objectSql("SyncDo", run, expire).catch(() => {});
  }
  const marks = runs.map((_, at) => `?${at + 1}`).join(", ");
  const silence = db.prepare(`UPDATE sync_runs SET active_at = 0 WHERE state = 'RUNNING' AND id IN (${marks})`).bind(...runs);
  const left = db.prepare(`SELECT count(*) AS ended FROM sync_runs WHERE state <> 'RUNNING' AND id IN (${marks})`).bind(...runs);
  let next = 0;
  await until(async () => {
    if (Date.now() > next) {
      // The crash may have taken an alarm with it. Then a run waits for the next look of the cron.
      next = Date.now() + CRON_MS;
      await silence.run();
      await world.service.cron();
    }
    return (await left.first("ended")) === runs.length;
  }, `the end of ${runs}`);
  // A run whose end history shows may not know of it yet. Its alarm wakes a worker when the lease is over.
  for (const run of runs) {
    const over = async () => {
      const { body } = await world.service.api("GET", `/v1/connections/${run.split(".")[0]}/progress`);
      return body.data.run?.id === run && body.data.run.state !== "RUNNING";
    };
    if (!(await over())) await consume(world.service, { kind: "work", run_id: run });
    await until(over, `${run} to know that it is over`);
  }
}

/** Keeps what stands at the destination for comparison at the end, and judges the run's history. */
async function look(cell) {
  const { one } = cell;
  try {
    cell.source = await Promise.all(one.tables.map((table) => sourceRows(world.pg, one.name, table)));
    cell.landed = await keep(one, `${one.name}_${one.runs}`);
    assert.ok(!cell.unreached, "the point was not reached");
    await assertHonest(one, cell.expected);
    cell.problem = undefined;
  } catch (error) {
    cell.problem = error.message;
  }
}

async function keep({ destination, name, tables }, label) {
  const schema = `m_${name}`;
  if (destination === "r2") return { manifests: await Promise.all(tables.map((table) => manifestOf(world.service, schema, table))), label, schema };
  const db = await world.service.d1(DATABASE);
  await db.batch(tables.map((table) => db.prepare(`CREATE TABLE kept_${label}_${table} AS SELECT * FROM ${schema}__${table}`)));
  return { label };
}

/** One run for each number, each a success, none running; of the last one, each table read what it had to. */
async function assertHonest(one, expected) {
  const db = await world.service.d1("DB");
  const { results: runs } = await db.prepare("SELECT number, state FROM sync_runs WHERE connection_id = ?1 ORDER BY number").bind(one.id).all();
  assert.deepEqual(runs, Array.from({ length: one.runs }, (_, at) => ({ number: at + 1, state: "SUCCESSFUL" })));
  const ends = "SELECT count(*) AS ends FROM log_events WHERE connection_id = ?1 AND event = 'sync_end'";
  assert.equal(await db.prepare(ends).bind(one.id).first("ends"), one.runs, "sync_end events");
  const tables = "SELECT table_name, rows_read, rows_written, rows_filtered FROM run_tables WHERE run_id = ?1 ORDER BY table_name";
  const { results } = await db.prepare(tables).bind(`${one.id}.${one.runs}`).all();
  assert.deepEqual(
    results,
    one.tables.map((table) => ({ table_name: table, rows_read: expected[table], rows_written: expected[table], rows_filtered: 0 })),
  );
}

/** One last run each, in peace; then everything that was kept is compared with its source. */
async function afterAll() {
  const last = [];
  for (const one of subjects) {
    const expected = await change(one);
    one.runs += 1;
    const cell = { point: "the end", one, expected };
    await world.synced(one.id);
    await look(cell);
    last.push(cell);
  }
  cells.push(...last);
  await compare(cells.filter((cell) => cell.landed));
}

async function compare(kept) {
  const folder = mkdtempSync(path.join(tmpdir(), "fivetran-faults-"));
  const lake = await copyOfLake(world.service);
  try {
    const jobs = kept.flatMap(({ one, source, landed }) =>
      one.tables.map((table, at) => {
        const { columns } = source[at];
        if (one.destination === "d1") return { reader: "d1", name: table, columns, state: world.service.state, table: `kept_${landed.label}_${table}` };
        const view = path.join(folder, landed.label, table);
        mkdirSync(view, { recursive: true });
        writeFileSync(path.join(view, "manifest.json"), JSON.stringify(landed.manifests[at]));
        symlinkSync(path.join(lake, landed.schema, table, "data"), path.join(view, "data"));
        return { reader: "r2", name: table, columns, sql: currentState(view) };
      }),
    );
    const landed = await readJobs(jobs);
    for (const cell of kept) {
      for (const [at, table] of cell.one.tables.entries()) {
        const { rows, columns } = cell.source[at];
        try {
          assertSameRows(landed.shift().rows, rows, columns, `${cell.one.name}.${table}`);
        } catch (error) {
          cell.problem ??= error.message;
        }
      }
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
    rmSync(lake, { recursive: true, force: true });
  }
}

/** A test of all cells of a point. */
function survived(point) {
  return () => {
    const here = cells.filter((cell) => cell.point === point);
    assert.ok(here.length > 0, `no run was killed at ${point}`);
    const problems = here.filter((cell) => cell.problem).map((cell) => `${cell.one.name}, time ${cell.nth}: ${cell.problem}`);
    assert.deepEqual(problems, []);
  };
}

test("i3_killed_at_after_open", survived("after_open"));
test("i3_killed_at_after_create", survived("after_create"));
test("i3_killed_at_after_start", survived("after_start"));
test("i3_killed_at_before_wake", survived("before_wake"));
test("i3_killed_at_after_lease", survived("after_lease"));
test("i3_killed_at_after_settle", survived("after_settle"));
test("i3_killed_at_after_forget", survived("after_forget"));
test("i3_killed_at_after_versions", survived("after_versions"));
test("i3_killed_at_after_plan", survived("after_plan"));
test("i3_killed_at_during_ddl", survived("during_ddl"));
test("i3_killed_at_after_ddl", survived("after_ddl"));
test("i3_killed_at_after_claim", survived("after_claim"));
test("i3_killed_at_after_read", survived("after_read"));
test("i3_killed_at_after_stage", survived("after_stage"));
test("i3_killed_at_after_put", survived("after_put"));
test("i3_killed_at_after_commit", survived("after_commit"));
test("i3_killed_at_before_publish", survived("before_publish"));
test("i3_killed_at_during_publish", survived("during_publish"));
test("i3_killed_at_after_swap", survived("after_swap"));
test("i3_killed_at_after_publish", survived("after_publish"));
test("i3_killed_at_before_report", survived("before_report"));
test("i3_killed_at_after_report", survived("after_report"));
test("i3_killed_at_before_close", survived("before_close"));
test("i2_killed_at_after_cursors", survived("after_cursors"));
test("i3_killed_at_after_history", survived("after_history"));
test("i3_killed_at_before_ack", survived("before_ack"));
test("i3_killed_at_after_ack", survived("after_ack"));
test("after all kills a run in peace moves what changed, and nothing else", survived("the end"));

test("every fault point of the engine is killed at, here or in the tests of interruptions", () => {
  const reached = new Set([...cells.map(({ point }) => point), ...ELSEWHERE]);
  assert.deepEqual(FAULT_POINTS.filter((point) => !reached.has(point)), []);
});
