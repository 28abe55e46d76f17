// A real database arrives in D1 and in Parquet on R2, moved by the real Worker: REST call -> queue -> Durable Objects ->
// destination. What landed is then compared with the source by readers of its own.
import { Fivetran } from "@dotdo/fivetran";
import { startService } from "../dev/service.mjs";
import { changeRows, deleteRows } from "./changes.mjs";
import { compare } from "./compare.mjs";
import { d1Table, manifests } from "./landed.mjs";
import { syncAround } from "./skipping.mjs";
import { demoSource, userSource } from "./source.mjs";
import { bold, bytes, cyan, detail, dim, failed, liveLine, number, passed, red, say, seconds, step, table } from "./terminal.mjs";

const FLIGHTS = Math.min(Number(process.env.DEMO_FLIGHTS || 500_000), 3_000_000);
const PREFIX = "demo";

const closing = [];
let differences = 0;
let broken = false;

async function story() {
  say(bold("fivetran.do"));
  say("A Postgres database lands in D1 and in Parquet on R2, moved by the real Worker on this machine.");
  const source = await openSource();
  const service = await openService();
  const fivetran = new Fivetran({ apiKey: service.apiKey, apiSecret: service.apiSecret, baseUrl: service.url });
  const [toD1, toR2] = await connect(fivetran, source);
  const destinations = { source, d1: await service.d1("ANALYTICS_DB"), r2: await service.r2("LAKE"), fivetran, toD1, toR2 };

  step("First sync: everything");
  const first = await syncBoth(destinations);
  await check(destinations);

  if (source.mutable) {
    await showChanges(destinations, total(first));
    await showDeletes(destinations);
  } else {
    step("Second sync: what changed since");
    detail(dim("Your database is only read: no rows are changed or deleted in it."));
    await syncBoth(destinations);
    await check(destinations);
  }
  await showLanded(destinations);
}

async function openSource() {
  step("Source");
  const began = Date.now();
  const url = process.env.DATABASE_URL;
  const line = liveLine();
  const source = url
    ? await userSource(url)
    : await demoSource(FLIGHTS, (rows) => line.show(`loading flights ${number(rows)} of ${number(FLIGHTS)}`));
  line.done();
  closing.push(source.stop);
  detail(`${source.describe}  ${dim(seconds(Date.now() - began))}`);
  if (source.mutable) detail(`${number(FLIGHTS)} US flights of January 2001 on, and the airports (npm package vega-datasets)`);
  else detail("Yours, from DATABASE_URL. It is read and never written.");
  return source;
}

async function openService() {
  step("Service");
  const began = Date.now();
  const service = await startService({ cron: true });
  closing.push(service.stop);
  detail(`${service.url}  the Worker's WASM in workerd, with D1, R2, Queues and Durable Objects  ${dim(seconds(Date.now() - began))}`);
  return service;
}

async function connect(fivetran, source) {
  step("Two connections, created over REST");
  const tables = process.env.TABLES?.split(",");
  const definition = (id, destination) => ({
    id,
    source: { type: "postgres", url: source.url, ...(tables && { tables }) },
    destination,
    sync: { mode: "incremental", schedule: "manual" },
  });
  const connectors = [
    fivetran.createConnector(definition("demo-d1", { type: "d1", database: "ANALYTICS_DB" })),
    fivetran.createConnector(definition("demo-r2", { type: "r2", bucket: "LAKE", prefix: PREFIX, format: "parquet" })),
  ];
  for (const connector of connectors) {
    const { id, setup_tests: tests = [] } = await connector.ensure();
    detail(`${cyan(connector.id)}  connection ${id}, ${tests.filter((test) => test.status === "PASSED").length} setup tests passed`);
  }
  return connectors;
}

/** Syncs to D1, then to R2: one after the other, so that each speed is its own. */
async function syncBoth({ fivetran, toD1, toR2 }, start = (connector, options) => connector.sync(options)) {
  const results = [];
  for (const [name, connector] of [["D1", toD1], ["R2", toR2]]) {
    const line = liveLine();
    const began = Date.now();
    const options = { onProgress: (progress) => line.show(progressText(name, progress)) };
    const result = await syncAround(fivetran, connector, (one) => start(one, options).finally(line.done));
    const took = Date.now() - began;
    const speed = result.rowsSynced > 1000 ? `, ${number(Math.round((result.rowsSynced * 1000) / took))} rows/s` : "";
    const deleted = result.rowsDeleted > 0 ? `, ${number(result.rowsDeleted)} marked deleted` : "";
    detail(`${cyan(name)}  ${number(result.rowsSynced)} rows in ${result.tables.length} tables${deleted}  ${dim(`${seconds(took)}${speed}`)}`);
    results.push(result);
  }
  return results;
}

function progressText(name, { phase, rows, estimatedRows, rowsPerSecond, tables }) {
  const done = tables.filter((one) => one.state === "published").length;
  const of = estimatedRows ? ` of about ${number(Math.max(estimatedRows, rows))}` : "";
  return `${name}  ${phase}  ${number(rows)}${of} rows  ${number(rowsPerSecond)} rows/s  ${done}/${tables.length} tables`;
}

/** Compares the destinations with the source and says so. */
async function check(destinations) {
  for (const { what, equal, detail: text } of await compare(destinations)) {
    if (equal) passed(`${what}: ${text}`);
    else {
      differences += 1;
      failed(`${what}: ${text}`);
    }
  }
}

async function showChanges(destinations, all) {
  step("Rows change at the source: an incremental sync moves only those");
  const changed = await changeRows(destinations.source);
  detail(`${number(changed.updated)} rows updated, ${number(changed.inserted)} inserted`);
  const results = await syncBoth(destinations);
  for (const { rowsSynced } of results) {
    if (rowsSynced !== changed.updated + changed.inserted) {
      differences += 1;
      failed(`${number(rowsSynced)} rows moved, ${number(changed.updated + changed.inserted)} had changed`);
    }
  }
  detail(dim(`${((100 * total(results)) / all).toFixed(2)} % of the rows of the first sync`));
  await check(destinations);
}

async function showDeletes(destinations) {
  step("Rows are deleted at the source: a re-sync marks them _fivetran_deleted");
  detail(`${number(await deleteRows(destinations.source))} rows deleted`);
  await syncBoth(destinations, (connector, options) => connector.resync(options));
  await check(destinations);
}

async function showLanded(destinations) {
  step("What landed");
  await (destinations.source.mutable ? showAirports(destinations) : showLargest(destinations));
  say();
  detail("Parquet on R2 (what the manifests list)");
  const rows = [];
  for (const manifest of await manifests(destinations.r2, PREFIX)) {
    for (const part of manifest.parts) rows.push([manifest.folder + part.path, number(part.rows), bytes(part.bytes)]);
  }
  table(["file", "rows", "size"], rows);
}

async function showAirports({ d1, fivetran, toD1 }) {
  const { schemas } = await fivetran.connections.schemas.get((await toD1.ensure()).id);
  const { name_in_destination: schema, tables } = schemas.public;
  const [flights, airports] = await Promise.all(
    ["flights", "airports"].map((source) => d1Table(d1, schema, tables[source].name_in_destination)),
  );
  detail("From D1: the busiest airports, and how late one leaves them");
  const { results } = await d1
    .prepare(
      `SELECT a.city, a.iata, count(*) AS flights, round(avg(f.delay_minutes), 1) AS delay
       FROM ${flights} f JOIN ${airports} a ON a.iata = f.origin
       WHERE NOT f._fivetran_deleted GROUP BY a.iata ORDER BY flights DESC LIMIT 5`,
    )
    .all();
  const rows = results.map((row) => [row.city, row.iata, number(row.flights), row.delay.toFixed(1)]);
  table(["city", "airport", "flights", "mean delay (min)"], rows);
}

/** The first rows of the user's largest table, cut to what fits a terminal. */
async function showLargest({ d1, fivetran, toD1 }) {
  const { run } = await toD1.status();
  const largest = run?.tables.toSorted((a, b) => (b.live_rows ?? 0) - (a.live_rows ?? 0))[0];
  if (!largest) return;
  const { schemas } = await fivetran.connections.schemas.get((await toD1.ensure()).id);
  const { name_in_destination: schema, tables } = schemas[largest.schema];
  const name = await d1Table(d1, schema, tables[largest.table].name_in_destination);
  detail(`From D1: the first rows of ${name}`);
  const { results } = await d1.prepare(`SELECT * FROM ${name} LIMIT 3`).all();
  const columns = Object.keys(results[0] ?? {}).filter((column) => !column.startsWith("_fivetran_")).slice(0, 5);
  table(columns, results.map((row) => columns.map((column) => String(row[column]).replaceAll(/\s+/g, " ").slice(0, 24))));
}

const total = (results) => results.reduce((sum, { rowsSynced }) => sum + rowsSynced, 0);

async function close() {
  for (const stop of closing.reverse()) await stop().catch(() => {});
}

/** Runs the demo; resolves to whether everything matched. `started` (epoch, milliseconds) is when the whole thing began. */
export async function demo(started) {
  process.on("SIGINT", () => close().then(() => process.exit(130)));
  try {
    await story();
  } catch (error) {
    broken = true;
    say(`\n${red(error.name ?? "Error")}: ${error.message}`);
    for (const { code, message } of error.tasks ?? []) detail(`${code}: ${message}`);
    if (process.env.DEBUG) console.error(error);
  } finally {
    await close();
  }
  const verdict = broken ? red("The demo could not go on.") : differences > 0 ? red("Something differs, see above.") : bold("Everything matches.");
  say(`\n${verdict}  ${dim(`${seconds(Date.now() - started)} in all`)}`);
  return !broken && differences === 0;
}
