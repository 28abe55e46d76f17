// What an end-to-end test stands on: the real Worker in workerd, a real Postgres, and a person's way of using them
// (REST). One world per test file; it is gone when the file ends.
import { after } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { startPostgres } from "../../../scripts/dev/postgres.mjs";
import { startService } from "../../../scripts/dev/service.mjs";

/** How often a test looks whether something has happened, in milliseconds. */
const LOOK_MS = 100;

/** Longest wait for anything: a sync of a test takes a second or two, one of 200 MB on a busy machine a minute. */
const PATIENCE_MS = 300_000;

/**
 * Starts service and Postgres and stops them after the file's tests.
 *
 * @param {object} [options]
 * @param {import("../../../scripts/dev/service.mjs").Options | ((pg: object) => object)} [options.service] Or what
 *   makes them of the running Postgres.
 * @param {Parameters<typeof startPostgres>[0]} [options.postgres]
 */
export async function startWorld({ service = {}, postgres = {} } = {}) {
  // An ANALYZE at a bad moment holds the horizon back, and rows that did not change would be read once more.
  const pg = await startPostgres({ ...postgres, settings: { autovacuum: "off", ...postgres.settings } });
  const ssl = pg.caFile ? { caFile: pg.caFile } : {};
  const chosen = typeof service === "function" ? service(pg) : service;
  const world = { pg, service: await startService({ ...ssl, ...chosen }), ...person(() => world.service, pg) };
  after(async () => {
    await world.service.stop();
    await world.pg.stop();
  });
  return world;
}

/** Waits until `look` answers something truthy, and gives that. */
export async function until(look, what, patienceMs = PATIENCE_MS) {
  const end = Date.now() + patienceMs;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > end) throw new Error(`Waited ${patienceMs} ms in vain for ${what}`);
    await sleep(LOOK_MS);
  }
}

/** What a person does over REST. `service` is asked for each time, because tests restart it. */
export function person(service, pg) {
  let groups = 0;

  /** A request that must succeed; gives `data`. */
  async function ok(method, path, body) {
    const { status, body: answer } = await service().api(method, path, body);
    if (status >= 300) throw new Error(`${method} ${path} answered ${status}: ${JSON.stringify(answer)}`);
    return answer.data;
  }

  /** A group with a destination in it; gives its id. */
  async function destination(service, config) {
    const { id } = await ok("POST", "/v1/groups", { name: `group_${(groups += 1)}_${Date.now()}` });
    const made = await ok("POST", "/v1/destinations", { group_id: id, service, region: "LOCAL", time_zone_offset: "0", config });
    if (made.setup_status !== "CONNECTED") throw new Error(`The destination is not connected: ${JSON.stringify(made)}`);
    return id;
  }

  /** How the service reaches the Postgres of this world. */
  const source = (more = {}) => ({
    host: pg.host,
    port: pg.port,
    user: pg.user,
    password: pg.password,
    database: pg.database,
    ...more,
  });

  /** A connection, manual unless told otherwise; gives it as answered. */
  const connection = (group, { config, ...more }) =>
    ok("POST", "/v1/connections", {
      group_id: group,
      service: "postgres",
      schedule_type: "manual",
      ...more,
      config: source(config),
    });

  const progress = async (id) => (await ok("GET", `/v1/connections/${id}/progress`)).run;

  /** Waits for the end of the run after `before` (a run's id or undefined); gives its progress. */
  const ended = (id, before, patienceMs) =>
    until(
      async () => {
        const run = await progress(id);
        return run && run.id !== before && run.state !== "RUNNING" && run;
      },
      `the end of a run of ${id}`,
      patienceMs,
    );

  async function started(id, path, body, patienceMs) {
    const before = (await progress(id))?.id;
    await ok("POST", `/v1/connections/${id}/${path}`, body);
    return ended(id, before, patienceMs);
  }

  /** Runs a sync to its end, whatever that is. */
  const sync = (id, patienceMs) => started(id, "sync", {}, patienceMs);

  /** Lets the pauses between a run's attempts pass until it ends: half a minute that no test needs to wait. */
  async function endedSoon(id, before) {
    const { JOBS } = await service().mf.getBindings();
    return until(async () => {
      const run = await progress(id);
      if (!run || run.id === before) return false;
      if (run.state !== "RUNNING") return run;
      await service().objectSql("SyncDo", run.id, "UPDATE orders SET not_before = 0 WHERE state = 'pending'");
      await JOBS.send({ kind: "work", run_id: run.id });
      return false;
    }, `the end of a run of ${id}`);
  }

  /** Reads all history again, to the end. */
  const resync = (id, scope, patienceMs) => started(id, "resync", scope ? { scope } : {}, patienceMs);

  /** As `sync`, and it must succeed. */
  const synced = async (id, patienceMs) => successful(await sync(id, patienceMs));

  return { ok, destination, connection, source, progress, ended, endedSoon, sync, resync, synced };
}

/** The run, if it succeeded with a balanced equation (I5). */
export function successful(run) {
  if (run.state !== "SUCCESSFUL") throw new Error(`The run ended ${run.state}: ${JSON.stringify(run.error ?? run.tables)}`);
  for (const { schema, table, counts } of run.tables) {
    if (counts.read !== counts.written + counts.filtered) {
      throw new Error(`I5: ${schema}.${table} read ${counts.read}, wrote ${counts.written}, filtered ${counts.filtered}`);
    }
  }
  return run;
}

/** One table of a run's progress; of two with that name the one in `public`. */
export function tableOf(run, table) {
  const named = run.tables.filter((one) => one.table === table);
  const found = named.find(({ schema }) => schema === "public") ?? named[0];
  if (!found) throw new Error(`The run has no table ${table}: ${run.tables.map((one) => one.table)}`);
  return found;
}
