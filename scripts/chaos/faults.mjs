// Everything that can happen to a service and to its source, at random moments.
import { setTimeout as sleep } from "node:timers/promises";

/**
 * Does one fault after the other until stopped.
 *
 * @param {number} pauseMs Mean time between two faults.
 * @returns {{ done: Record<string, number>, stop: () => Promise<void> }}
 */
export function keepBreaking(world, connections, dice, pauseMs) {
  const done = { workerd: 0, postgres: 0, evicted: 0, expired: 0, messages: 0, cron: 0, unanswered: 0 };
  let running = true;
  const faults = { workerd, postgres, evicted: evict, expired: expire, messages: send, cron: (world) => world.service.cron() };
  const loop = (async () => {
    while (running) {
      await sleep(dice.between(pauseMs / 2, pauseMs * 1.5));
      const fault = dice.weighted([[3, "workerd"], [2, "postgres"], [6, "evicted"], [3, "expired"], [6, "messages"], [6, "cron"]]);
      try {
        await faults[fault](world, connections, dice);
        done[fault] += 1;
      } catch (error) {
        if (fault === "workerd" || fault === "postgres") throw error;
        // The runtime restarted under it.
        done.unanswered += 1;
      }
    }
  })();
  return {
    done,
    failed: loop,
    async stop() {
      running = false;
      await loop;
    },
  };
}

/** SIGKILL of the runtime: memory, open requests and queued messages are gone. */
async function workerd(world, connections) {
  await world.service.kill();
  // Whoever held a lease is dead. Nobody waits the minute and a half until that shows.
  await expire(world, connections).catch(() => {});
  await world.service.cron().catch(() => {});
}

/** SIGKILL of the source, which comes back after a while. */
async function postgres(world, _connections, dice) {
  await world.pg.crash();
  await sleep(dice.between(0, 6000));
  await world.pg.start();
}

/** A Durable Object leaves memory, as after idleness or an upgrade of the platform. */
async function evict(world, connections, dice) {
  const { id } = dice.pick(connections);
  const run = await world.progress(id);
  if (run && dice.roll() < 0.6) return world.service.evict("SyncDo", run.id);
  return world.service.evict("ConnectorDo", id);
}

/** Leases run out while their holders, who know nothing of it, go on (I4). */
export async function expire(world, connections) {
  for (const { id } of connections) {
    const run = await world.progress(id);
    if (run?.state !== "RUNNING") continue;
    await world.service.objectSql("SyncDo", run.id, "UPDATE orders SET lease_until = 0, not_before = 0");
  }
}

/** Messages that nobody asked for: of live runs, of runs long over, of due times that were served. */
async function send(world, connections, dice) {
  const { JOBS } = await world.service.mf.getBindings();
  const { id } = dice.pick(connections);
  const run = await world.progress(id);
  const old = run ? `${id}.${dice.between(1, 5)}` : "nobody.1";
  const messages = [
    { kind: "work", run_id: run?.id ?? "nobody.1" },
    { kind: "work", run_id: old },
    { kind: "start", connection_id: id, due_at: Date.now() * 1000 - dice.between(0, 600_000_000) },
  ];
  for (let left = dice.between(1, 6); left > 0; left -= 1) await JOBS.send(dice.pick(messages));
}
