// TPC-H lineitem from a real Postgres through the service in workerd, to Parquet on R2 and to D1.
// `node bench/lineitem.mjs [--rows 1000000] [--destination r2|d1|both] [--repeat 3] [--quick]`; see README.md.
import { parseArgs } from "node:util";
import { build } from "../scripts/build.mjs";
import { startService } from "../scripts/dev/service.mjs";
import { counted, messages } from "./support/messages.mjs";
import { median, printMachine, printRuns } from "./support/report.mjs";
import { copyBinary, startSource } from "./support/source.mjs";
import { connect, syncOnce } from "./support/syncing.mjs";

const { values: options } = parseArgs({
  options: {
    rows: { type: "string", default: "1000000" },
    destination: { type: "string", default: "both" },
    repeat: { type: "string", default: "3" },
    // Without wasm-opt, as the tests run it.
    quick: { type: "boolean", default: false },
    // `runtime` trusts the server's authority, so that the runtime speaks TLS; with `own` the module must.
    tls: { type: "string", default: "off" },
    // WASM memory cap in pages of 64 KiB; 1024 is what Cloudflare leaves us (I9).
    pages: { type: "string", default: "1024" },
  },
});
const rows = Number(options.rows);
const repeat = Number(options.repeat);
const destinations = options.destination === "both" ? ["r2", "d1"] : [options.destination];

await build({ release: !options.quick });
printMachine(options);
const encrypted = options.tls !== "off";
const source = await startSource(rows, { ssl: encrypted });
console.log(`source: ${source.rows} rows of lineitem, ${(source.bytes / 1e6).toFixed(1)} MB of heap, ${source.origin}`);
try {
  const copies = [];
  for (let at = 0; at < repeat; at += 1) copies.push(await copyBinary(source));
  const copy = median(copies);
  console.log(`psql COPY BINARY: ${Math.round(source.rows / copy)} rows/s (median of ${repeat})`);
  for (const destination of destinations) await measure(destination, copy);
} finally {
  await source.stop();
}

/** Syncs the table into new places several times. The first sync meets a Worker that has never run, the others a warm one. */
async function measure(destination, copy) {
  const caFile = options.tls === "runtime" ? source.caFile : undefined;
  const service = await startService({ wasmMaxMemPages: Number(options.pages), configure: counted, caFile });
  try {
    const runs = [];
    for (let at = 0; at <= repeat; at += 1) {
      const connection = await connect(service, destination, source, `bench${at}`, encrypted);
      const before = await messages(service);
      const run = await syncOnce(service, connection);
      runs.push({ ...run, messages: (await messages(service)) - before, rows: source.rows, bytes: source.bytes });
    }
    printRuns(destination, runs, copy);
  } finally {
    await service.stop();
  }
}
