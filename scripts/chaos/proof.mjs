// The end of the story: everything comes to rest, and then source and destinations are compared, value by value.
import { setTimeout as sleep } from "node:timers/promises";
import { readLanded } from "../../tests/e2e/support/landed.mjs";
import { sourceRows } from "../../tests/e2e/support/values.mjs";
import { successful } from "../../tests/e2e/support/world.mjs";
import { expire } from "./faults.mjs";
import { tablesOf } from "./source.mjs";

/** A live run ends well before this; one that does not is stuck, which is a finding. */
const SETTLE_MS = 240_000;
const CRON_MS = 5_000;

/** Waits until no run is live. Nobody starts new ones: the clock's connections are set to manual first. */
export async function settle(world, connections) {
  for (const { id } of connections) await world.ok("PATCH", `/v1/connections/${id}`, { schedule_type: "manual" });
  await expire(world, connections);
  const end = Date.now() + SETTLE_MS;
  for (let cron = 0; ; ) {
    const runs = await Promise.all(connections.map(({ id }) => world.progress(id)));
    const live = runs.filter((run) => run?.state === "RUNNING");
    if (live.length === 0) return;
    if (Date.now() > end) throw new Error(`${live.map(({ id, phase }) => `${id} (${phase})`).join(", ")} did not end in ${SETTLE_MS / 1000} s`);
    if (Date.now() >= cron) {
      await world.service.cron();
      cron = Date.now() + CRON_MS;
    }
    await sleep(250);
  }
}

/**
 * Proves that nothing was lost: an incremental sync must be enough for every row of the source to be there as it is now.
 * A re-sync would hide what was lost before it, so it comes second, and with it nothing else may be there either.
 *
 * @returns {Promise<{ rows: number, differences: string[] }>}
 */
export async function prove(world, connections, say) {
  const differences = [];
  say("a last sync of every connection: no row of the source may be missing or old");
  await compare((connection) => world.synced(connection.id, SETTLE_MS), { surplus: false });
  say("a last re-sync of every connection: source and destination must be equal");
  const rows = await compare(async (connection) => successful(await world.resync(connection.id, undefined, SETTLE_MS)), { surplus: true });
  return { rows, differences };

  async function compare(sync, { surplus: judged }) {
    let compared = 0;
    // Nothing changes any more, so one look at the source does for all connections.
    const seen = new Map();
    const source = (table) => {
      if (!seen.has(table)) seen.set(table, sourceRows(world.pg, ...table.split(".")));
      return seen.get(table);
    };
    for (const connection of connections) {
      await sync(connection);
      const tables = connection.tables ?? (await tablesOf(world.pg));
      for (const { table, rows, missing, surplus, first } of await difference(world, connection, tables, source)) {
        compared += rows;
        if (missing === 0 && (surplus === 0 || !judged)) continue;
        differences.push(`${connection.name} ${table}: ${missing} rows missing, ${surplus} surplus; the first: ${first}`);
      }
    }
    return compared;
  }
}

/** Rows of either side without an equal on the other, as multisets. */
async function difference(world, { id, destination, prefix }, tables, source) {
  const expected = await Promise.all(tables.map(source));
  const landed = await readLanded(world, destination, id, tables, { prefix, kinds: expected.map(({ columns }) => columns) });
  return tables.map((table, at) => {
    const left = new Map();
    for (const row of landed[at].rows) add(left, JSON.stringify(row), 1);
    for (const row of expected[at].rows) add(left, JSON.stringify(row), -1);
    const unequal = [...left].filter(([, count]) => count !== 0);
    const sum = (sign) => unequal.reduce((total, [, count]) => total + Math.max(0, sign * count), 0);
    const first = unequal.find(([, count]) => count < 0) ?? unequal[0];
    return { table, rows: expected[at].rows.length, missing: sum(-1), surplus: sum(1), first: first?.[0].slice(0, 300) };
  });
}

const add = (counts, key, by) => counts.set(key, (counts.get(key) ?? 0) + by);
