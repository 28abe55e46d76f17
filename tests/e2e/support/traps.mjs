// Traps at fault points: the engine asks the service binding FAULTS at every border between two effects what shall
// happen, and the test answers from here. Only this file's `withTraps` makes that binding; wrangler.toml has none.
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import path from "node:path";
import { root } from "../../../scripts/lib/paths.mjs";

/** The names of all fault points, from the engine's own list. */
export const FAULT_POINTS = [
  ...readFileSync(path.join(root, "src/core/fault_point.rs"), "utf8").matchAll(/=> "(\w+)"/g),
].map(([, name]) => name);

/** A trap holds whoever reaches its point until the process ends, or `release`. */
export class Traps {
  #armed = new Map();
  #held = new Set();
  /** Every point that was passed: `{ point, id }`. */
  passed = [];

  /** For `startService`: adds the binding. */
  configure = (worker) => {
    worker.serviceBindings = { ...worker.serviceBindings, FAULTS: (request) => this.#reached(request) };
  };

  /** Arms a trap for a connection and gives a promise of somebody standing in it, at the `nth` time from now on. */
  arm(connection, point, nth = 1) {
    if (!FAULT_POINTS.includes(point)) throw new Error(`There is no fault point ${point}`);
    return new Promise((caught) => this.#armed.set(connection, { point, left: nth, caught }));
  }

  /** Lets everybody go on who stands in a trap, and disarms what nobody reached. */
  release(status = 200) {
    this.#armed.clear();
    for (const letGo of this.#held) letGo(new Response(null, { status }));
    this.#held.clear();
  }

  #reached(request) {
    const [, point, id] = new URL(request.url).pathname.split("/");
    const connection = id.split(".")[0];
    const trap = this.#armed.get(connection);
    if (trap?.point !== point || (trap.left -= 1) > 0) {
      this.passed.push({ point, id });
      return new Response(null);
    }
    this.#armed.delete(connection);
    return new Promise((letGo) => {
      this.#held.add(letGo);
      trap.caught(id);
    });
  }
}

/**
 * Hands a message to a queue consumer of its own, as Cloudflare does with many at once. Miniflare's broker has one
 * consumer at a time, which somebody in a trap would block. Resolves when the consumer has returned or died.
 */
export async function consume(service, body) {
  const worker = await service.mf.getWorker();
  const message = { id: randomUUID(), timestamp: new Date(), attempts: 1, body };
  await worker.queue("fivetran-jobs", [message]).catch(() => {});
}
