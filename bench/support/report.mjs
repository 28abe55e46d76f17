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

/** One line per run, then the median of the warm ones. `copy` is what psql took, in seconds. */
export function printRuns(destination, [cold, ...warm], copy) {
  console.log(`\n${destination}`);
  console.log(`  first ${line(cold)}`);
  for (const run of warm) console.log(`  warm  ${line(run)}`);
  const middle = warm.find(({ seconds }) => seconds === median(warm.map((run) => run.seconds)));
  console.log(`  median of the warm ones: ${rate(middle)} rows/s, ${(middle.bytes / 1e6 / middle.seconds).toFixed(1)} MB/s, ` +
    `${((100 * copy) / middle.seconds).toFixed(0)} % of psql's COPY BINARY`);
  const total = Object.keys(SHARES).reduce((sum, name) => sum + middle.effort[name], 0);
  const share = (words, micros) =>
    console.log(`    ${words.padEnd(24)} ${(micros / 1e6).toFixed(2).padStart(5)} s ${((micros / middle.seconds) / 1e4).toFixed(0).padStart(3)} %`);
  for (const [name, words] of Object.entries(SHARES)) share(words, middle.effort[name]);
  share("between chunks", middle.seconds * 1e6 - total);
}

const rate = (run) => Math.round(run.rows / run.seconds).toLocaleString("en");

const line = (run) =>
  `${run.seconds.toFixed(2)} s, ${rate(run)} rows/s, peak WASM memory ${(run.effort.peak_memory / 2 ** 20).toFixed(1)} MiB, ` +
  `workerd ${(run.rss / 2 ** 20).toFixed(0)} MiB, ${run.chunks} chunks, ${run.messages} queue messages`;
