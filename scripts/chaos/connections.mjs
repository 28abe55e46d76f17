// The connections under test, and somebody who keeps asking them to sync.
import { setTimeout as sleep } from "node:timers/promises";
import { BUCKET, DATABASE } from "../../tests/e2e/support/landed.mjs";

/** Where each writes to, what it moves, and how. */
const KINDS = [
  { name: "d1_incremental", destination: "d1", more: { schedule_type: "auto", sync_frequency: 1 } },
  { name: "r2_incremental", destination: "r2", more: { schedule_type: "auto", sync_frequency: 1 } },
  { name: "d1_full", destination: "d1", more: { sync_mode: "full" }, tables: ["lines", "events", "documents"] },
  { name: "r2_full", destination: "r2", more: { sync_mode: "full" }, tables: ["orders", "events", "archive"] },
  { name: "d1_cursor", destination: "d1", tables: ["ticks"], config: { cursor_columns: { "shop.ticks": "seen" } } },
];

/** Makes them all; gives `{ id, name, destination, prefix, tables }` each. `tables` undefined means all there are. */
export async function connectAll(world) {
  const database = await world.destination("d1", { binding: DATABASE });
  const made = [];
  for (const { name, destination, more = {}, config = {}, tables } of KINDS) {
    // A prefix of its own, so that each lake can be read by itself.
    const group = destination === "r2" ? await world.destination("r2", { bucket: BUCKET, prefix: name }) : database;
    const chosen = tables ? { tables: tables.map((table) => `shop.${table}`) } : { schemas: ["shop"] };
    const { id } = await world.connection(group, { ...more, config: { schema_prefix: name, ...chosen, ...config } });
    made.push({ id, name, destination, prefix: destination === "r2" ? `${name}/` : "", tables: tables?.map((table) => `shop.${table}`) });
  }
  return made;
}

/** Starts syncs at random moments until stopped: mostly plain ones, some of all history, some by force. */
export function keepSyncing(world, connections, dice) {
  let running = true;
  const asked = { sync: 0, resync: 0, force: 0, unanswered: 0 };
  const loop = (async () => {
    while (running) {
      const { id } = dice.pick(connections);
      const what = dice.weighted([[40, "sync"], [1, "resync"], [1, "force"]]);
      const [path, body] = { sync: ["sync", {}], resync: ["resync", {}], force: ["sync", { force: true }] }[what];
      try {
        await world.ok("POST", `/v1/connections/${id}/${path}`, body);
        asked[what] += 1;
      } catch {
        // The service is just being killed, or a run is live: the next request comes soon.
        asked.unanswered += 1;
      }
      await sleep(dice.between(200, 2000));
    }
  })();
  return {
    asked,
    async stop() {
      running = false;
      await loop;
    },
  };
}

/** Every run there was, of all connections. */
export async function runsOf(world, connections) {
  const runs = [];
  for (const { id } of connections) {
    let cursor;
    do {
      const page = await world.ok("GET", `/v1/connections/${id}/runs?limit=1000${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""}`);
      runs.push(...page.items);
      cursor = page.next_cursor;
    } while (cursor);
  }
  return runs;
}
