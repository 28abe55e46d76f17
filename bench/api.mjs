// The API with many connections: how long list, get, create and patch take with 10,000 connections in D1, under 50 requests
// at once. `node bench/api.mjs [--connections 10000] [--concurrency 50] [--requests 2000] [--quick]`.
import { parseArgs } from "node:util";
import { build } from "../scripts/build.mjs";
import { startService } from "../scripts/dev/service.mjs";
import { printMachine } from "./support/report.mjs";

const { values: options } = parseArgs({
  options: {
    connections: { type: "string", default: "10000" },
    concurrency: { type: "string", default: "50" },
    requests: { type: "string", default: "2000" },
    quick: { type: "boolean", default: false },
    pages: { type: "string", default: "1024" },
  },
});
const [connections, concurrency, requests] = ["connections", "concurrency", "requests"].map((name) => Number(options[name]));
/** Rows of a page that `list` asks for: the default of the API. */
const PAGE = 100;
/** Connections of a group: an account with ten thousand has many destinations. */
const PER_GROUP = 500;

await build({ release: !options.quick });
printMachine(options);
const service = await startService({ wasmMaxMemPages: Number(options.pages) });
try {
  const groups = await makeGroups();
  const ids = [];
  const created = await measure(connections, async (at) => {
    ids.push((await ok("POST", "/v1/connections", definition(groups[Math.floor(at / PER_GROUP)], at))).id);
  });
  const pick = () => ids[Math.floor(Math.random() * ids.length)];
  const cursors = await walk();
  console.log(`${ids.length} connections in ${groups.length} groups, ${concurrency} requests at once\n`);
  console.log("request                                     requests/s   p50 ms   p99 ms   max ms");
  // Creating grows the table; its last requests met the size that the others meet.
  print("create, the last ones", created.slice(-requests));
  print("get", await measure(requests, () => ok("GET", `/v1/connections/${pick()}`)));
  print(`list, pages of ${PAGE} anywhere`, await measure(requests, () => ok("GET", `/v1/connections?limit=${PAGE}${cursors[Math.floor(Math.random() * cursors.length)]}`)));
  print(`list of a group, ${PAGE}`, await measure(requests, (at) => ok("GET", `/v1/groups/${groups[at % groups.length]}/connections?limit=${PAGE}`)));
  print("patch (frequency)", await measure(requests, (at) => ok("PATCH", `/v1/connections/${pick()}`, { sync_frequency: [60, 120, 360][at % 3] })));
  const turns = [() => ok("GET", `/v1/connections/${pick()}`), () => ok("GET", `/v1/connections?limit=${PAGE}`), () => ok("PATCH", `/v1/connections/${pick()}`, { paused: false })];
  print("get, list and patch in turn", await measure(requests, (at) => turns[at % 3]()));
} finally {
  await service.stop();
}

async function ok(method, path, body) {
  const { status, body: answer } = await service.api(method, path, body);
  if (status >= 300) throw new Error(`${method} ${path} answered ${status}: ${JSON.stringify(answer)}`);
  return answer.data;
}

async function makeGroups() {
  const groups = [];
  for (let at = 0; at < Math.ceil(connections / PER_GROUP); at += 1) {
    const { id } = await ok("POST", "/v1/groups", { name: `group_${at}` });
    await ok("POST", "/v1/destinations", { group_id: id, service: "d1", region: "LOCAL", time_zone_offset: "0", config: { binding: "ANALYTICS_DB" }, run_setup_tests: false });
    groups.push(id);
  }
  return groups;
}

/** Not tested, so that the numbers are the API's and not those of a source. */
function definition(group_id, at) {
  const config = { schema_prefix: `shop_${at}`, host: "db.example.com", port: 5432, user: "reader", password: "secret", database: "shop", tables: ["public.orders"] };
  return { group_id, service: "postgres", run_setup_tests: false, schedule_type: "manual", config };
}

/** The cursors of all pages, as query parameters; the first page has none. */
async function walk() {
  const cursors = [""];
  for (;;) {
    const { next_cursor } = await ok("GET", `/v1/connections?limit=${PAGE}${cursors.at(-1)}`);
    if (!next_cursor) return cursors;
    cursors.push(`&cursor=${encodeURIComponent(next_cursor)}`);
  }
}

/** Sends `count` requests, `concurrency` at a time; gives when each began and ended, in milliseconds. */
async function measure(count, request) {
  const times = [];
  let next = 0;
  const worker = async () => {
    while (next < count) {
      const at = next;
      next += 1;
      const began = performance.now();
      await request(at);
      times.push({ began, ended: performance.now() });
    }
  };
  await Promise.all(Array.from({ length: concurrency }, worker));
  return times;
}

function print(what, times) {
  const took = times.map(({ began, ended }) => ended - began).sort((a, b) => a - b);
  const seconds = (Math.max(...times.map(({ ended }) => ended)) - Math.min(...times.map(({ began }) => began))) / 1000;
  const at = (share) => took[Math.min(took.length - 1, Math.floor(took.length * share))].toFixed(1).padStart(9);
  console.log(`${what.padEnd(42)}${Math.round(times.length / seconds).toString().padStart(12)}${at(0.5)}${at(0.99)}${at(1)}`);
}
