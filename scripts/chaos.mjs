// `npm run chaos -- --minutes 10`: the real service syncs a real Postgres that never holds still, while both are killed at
// random; then everything comes to rest, and source and destinations must be equal. scripts/chaos/ has the actors.
// `--seed` repeats the same decisions; the moments at which they meet are the machine's.
import { randomInt } from "node:crypto";
import { parseArgs } from "node:util";
import { build } from "./build.mjs";
import { connectAll, keepSyncing, runsOf } from "./chaos/connections.mjs";
import { unreliable } from "./chaos/deliveries.mjs";
import { keepBreaking } from "./chaos/faults.mjs";
import { prove, settle } from "./chaos/proof.mjs";
import { dice } from "./chaos/random.mjs";
import { SCHEMA, mutate } from "./chaos/source.mjs";
import { bold, green, number, red, seconds } from "./demo/terminal.mjs";
import { startPostgres } from "./dev/postgres.mjs";
import { startService } from "./dev/service.mjs";
import { person } from "../tests/e2e/support/world.mjs";

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "10" },
    seed: { type: "string", default: String(randomInt(1, 2 ** 31)) },
    /** Mean seconds between two faults. */
    pause: { type: "string", default: "2" },
  },
});
const [minutes, seed, pauseMs] = [Number(values.minutes), Number(values.seed), Number(values.pause) * 1000];
if (!(minutes > 0 && Number.isInteger(seed) && pauseMs > 0)) throw new Error("Use --minutes 10 --seed 1234 --pause 2");

const REPORT_MS = 5000;
/** Losing the source is a FAILURE after the retries are used up; what needs a person is not to be expected here. */
const EXPECTED = new Set(["SUCCESSFUL", "FAILURE", "RESCHEDULED", "CANCELED"]);

/** Out of memory (I9) or a panic (I10): the run may well survive it, the promise does not. */
const TRAP = /RuntimeError|panicked/;
const traps = [];

// Exit handlers end the database and the runtime; a signal alone would leave them behind.
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(130));

await build();
const began = Date.now();
const say = (text) => console.log(`${seconds(Date.now() - began).padStart(8)}  ${text}`);
console.log(bold(`chaos for ${minutes} minutes, seed ${seed}`));

// Commits must be in the log when they are answered: a killed server may lose nothing that a sync has seen.
const pg = await startPostgres({ settings: { synchronous_commit: "on" } });
const counted = { lost: 0, delayed: 0, repeated: 0 };
const end = Date.now() + minutes * 60_000;
const world = {
  pg,
  service: await startService({
    inspectObjects: true,
    wasmMaxMemPages: 1024,
    configure: (worker) => unreliable(worker, { seed, end }),
    onLog({ message }) {
      if (TRAP.test(message)) traps.push(`${seconds(Date.now() - began)}: ${message}`);
      const [, fate] = /^chaos: (\w+)/.exec(message) ?? [];
      if (fate) counted[fate] += 1;
    },
  }),
};
Object.assign(world, person(() => world.service, pg));

let failed = true;
try {
  failed = !(await story());
} catch (error) {
  say(red(error.stack ?? error));
  for (const { level, message } of world.service.logs.filter(({ message }) => !message.startsWith("chaos:")).slice(-20)) say(`${level} ${message}`);
} finally {
  await world.service.stop().catch(() => {});
  await pg.stop();
}
if (failed) console.log(red(`Failed. Again: npm run chaos -- --minutes ${minutes} --seed ${seed}`));
process.exit(failed ? 1 : 0);

/** The whole run; gives whether everything was equal in the end. */
async function story() {
  await pg.query(SCHEMA);
  const connections = await connectAll(world);
  const newDice = (actor) => dice(`${seed}/${actor}`);
  const mutators = mutate(pg.url, newDice);
  const syncs = keepSyncing(world, connections, newDice("syncs"));
  const faults = keepBreaking(world, connections, newDice("faults"), pauseMs);
  await watch(mutators, syncs, faults);

  say("faults and changes end; what is live comes to rest");
  await faults.stop();
  await Promise.all([mutators.stop(), syncs.stop()]);
  await settle(world, connections);
  const { rows, differences } = await prove(world, connections, say);
  const runs = await runsOf(world, connections);
  return report({ mutators, faults, syncs, runs, rows, differences });
}

/** A line every few seconds until the time is up, or an actor gave up. */
async function watch(mutators, syncs, faults) {
  while (Date.now() < end) {
    await Promise.race([new Promise((resolve) => setTimeout(resolve, Math.min(REPORT_MS, end - Date.now()))), faults.failed]);
    const { workerd, postgres, evicted, expired, messages } = faults.done;
    say(
      `kills ${workerd} workerd ${postgres} postgres, ${evicted} evictions, ${expired} lease losses, ${messages + counted.lost + counted.delayed + counted.repeated} message faults; ` +
        `${number(mutators.done.rows)} rows changed, ${mutators.done.reshaped} schema changes; ${syncs.asked.sync + syncs.asked.resync + syncs.asked.force} syncs asked for`,
    );
  }
}

function report({ mutators, faults, syncs, runs, rows, differences }) {
  const byState = Object.groupBy(runs, ({ state }) => state);
  const moved = runs.reduce((sum, { counts }) => sum + counts.written, 0);
  const unexpected = runs.filter(({ state }) => !EXPECTED.has(state));
  const { done } = faults;
  console.log(`
kills survived     ${done.workerd + done.postgres} (${done.workerd} of workerd, ${done.postgres} of Postgres)
other faults       ${done.evicted} objects evicted, ${done.expired} times all leases lost, ${done.cron} cron ticks
messages           ${counted.lost} lost, ${counted.repeated} handled twice, ${counted.delayed} delayed, ${done.messages} bursts nobody asked for
source             ${number(mutators.done.transactions)} transactions, ${number(mutators.done.rows)} rows, ${mutators.done.late} committed late, ${mutators.done.reshaped} schema changes
syncs run          ${runs.length} (${Object.entries(byState).map(([state, list]) => `${list.length} ${state}`).join(", ")}); ${syncs.asked.resync} re-syncs, ${syncs.asked.force} forced
rows moved         ${number(moved)}
rows compared      ${number(rows)}
WASM traps         ${traps.length}
differences        ${differences.length}
seed               ${seed}, ${seconds(Date.now() - began)} in all`);
  for (const one of differences) console.log(red(`  ${one}`));
  for (const one of traps) console.log(red(`  trap at ${one}`));
  for (const { id, state, error } of unexpected) console.log(red(`  run ${id} ended ${state}: ${JSON.stringify(error)}`));
  if (differences.length + unexpected.length + traps.length > 0) return false;
  console.log(green("\nEverything is equal."));
  return true;
}
