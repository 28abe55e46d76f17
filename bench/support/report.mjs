// Numbers for people.
import { execFileSync } from "node:child_process";
import os from "node:os";

/** Parts of a run's effort with their names. */
const SHARES = { source_wait: "waiting for the source", decode: "decoding", encode: "shaping and encoding", destination_wait: "writing" };

export function median(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}

export function printMachine(options) {
  const version = execFileSync("git", ["describe", "--always", "--dirty"], { encoding: "utf8" }).trim();
  console.log(`${os.cpus().length} x ${os.cpus()[0].model}, ${Math.round(os.totalmem() / 2 ** 30)} GiB, Node ${process.version}, commit ${version}`);
  console.log(`module ${options.quick ? "without" : "with"} wasm-opt, WASM memory capped at ${options.pages / 16} MiB`);
}

/** One line per run, then the median one. `copy` is what psql took, in seconds. */
export function printRuns(destination, runs, copy) {
  console.log(`\n${destination}`);
  for (const run of runs) console.log(`  ${line(run)}`);
  const middle = runs.find(({ seconds }) => seconds === median(runs.map((run) => run.seconds)));
  const rate = middle.rows / middle.seconds;
  const total = Object.keys(SHARES).reduce((sum, name) => sum + middle.effort[name], 0);
  console.log(`  median: ${Math.round(rate).toLocaleString("en")} rows/s, ${(middle.bytes / 1e6 / middle.seconds).toFixed(1)} MB/s, ` +
    `${((100 * copy) / middle.seconds).toFixed(0)} % of psql's COPY BINARY`);
  for (const [name, words] of Object.entries(SHARES)) {
    const micros = middle.effort[name];
    console.log(`    ${words.padEnd(24)} ${(micros / 1e6).toFixed(2).padStart(6)} s  ${((100 * micros) / total).toFixed(0).padStart(3)} %`);
  }
  console.log(`    ${"outside of chunks".padEnd(24)} ${(middle.seconds - total / 1e6).toFixed(2).padStart(6)} s  (planning, publishing, messages)`);
}

const line = (run) =>
  `${run.seconds.toFixed(2)} s, ${Math.round(run.rows / run.seconds).toLocaleString("en")} rows/s, ` +
  `peak WASM memory ${(run.effort.peak_memory / 2 ** 20).toFixed(1)} MiB, workerd ${(run.rss / 2 ** 20).toFixed(0)} MiB, ` +
  `${run.chunks} chunks, ${run.messages} queue messages`;
