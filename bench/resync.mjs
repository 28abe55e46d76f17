// What it costs to tell, at a re-sync, which rows of a Parquet table are gone: the seconds by which a full load over a table is
// longer than the first one. `node bench/resync.mjs [--rows 1000000,2000000,4000000] [--quick]`; see README.md.
import { parseArgs } from "node:util";
import { build } from "../scripts/build.mjs";
import { startService } from "../scripts/dev/service.mjs";
import { printMachine } from "./support/report.mjs";
import { startSource } from "./support/source.mjs";
import { connect, syncOnce } from "./support/syncing.mjs";

const { values: options } = parseArgs({
  options: {
    rows: { type: "string", default: "1000000,2000000,4000000" },
    quick: { type: "boolean", default: false },
  },
});

/** In pages of 64 KiB: what Cloudflare leaves us (I9). */
const PAGES = 1024;

await build({ release: !options.quick });
printMachine({ ...options, pages: PAGES });
for (const rows of options.rows.split(",").map(Number)) {
  const source = await startSource(rows);
  const service = await startService({ wasmMaxMemPages: PAGES });
  try {
    const connection = await connect(service, "r2", source);
    const first = await syncOnce(service, connection);
    await source.query("DELETE FROM lineitem WHERE l_orderkey % 100 = 0");
    const again = await syncOnce(service, connection, "resync");
    const more = again.seconds - first.seconds;
    console.log(`${source.rows} rows: first ${first.seconds.toFixed(1)} s, again ${again.seconds.toFixed(1)} s, ` +
      `telling what is gone ${more.toFixed(1)} s (${(more / (source.rows / 1e6)).toFixed(2)} s a million)`);
  } finally {
    await service.stop();
    await source.stop();
  }
}
