// The real Worker in workerd on this machine, with D1, R2, Queues, cron and Durable Objects embedded. One module for
// `npm start`, the demo, the benchmarks and the end-to-end tests, so that all of them run the same thing.
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { root } from "../lib/paths.mjs";
import { freePort } from "./net.mjs";

const LOG_LINES = 5000;

/**
 * @typedef {object} Options
 * @property {string} [persistTo] Directory of all state; without it the state dies with the service.
 * @property {number} [port] Port on `host`; a free one by default, kept across restarts.
 * @property {string} [host]
 * @property {number} [wasmMaxMemPages] Cap of WASM memory in pages of 64 KiB (1024 = 64 MiB). workerd itself enforces none.
 * @property {string} [caFile] PEM of a certificate authority to trust for TLS from the Worker. The runtime's options are
 *   read once per process, so the first service started in a process decides.
 * @property {Record<string, string>} [secrets] Fixed secrets instead of generated ones.
 * @property {boolean} [cron] Fire the cron trigger each minute, as Cloudflare does. Off in tests, which call `cron()`.
 * @property {number} [controlDatabases] Databases of the control plane; one unless told otherwise.
 * @property {boolean} [inspectObjects] Allow `objectSql`.
 * @property {(worker: Record<string, any>) => void} [configure] Last word on Miniflare's worker options: further
 *   bindings, `serviceBindings` that play a source, and so on.
 * @property {(line: {level: string, message: string}) => void} [onLog] Called for each line the Worker logs.
 */

/** Starts the service and applies the migrations. @param {Options} options */
export async function startService(options = {}) {
  process.env.WRANGLER_SEND_METRICS ??= "false";
  if (options.caFile) process.env.NODE_EXTRA_CA_CERTS = options.caFile;
  const { Miniflare, convertV4MiniflareOptions } = await import("miniflare");
  const temporary = options.persistTo ? undefined : mkdtempSync(path.join(tmpdir(), "fivetran-"));
  const state = path.resolve(options.persistTo ?? temporary);
  mkdirSync(state, { recursive: true, mode: 0o700 });
  const secrets = { ...readSecrets(state, !temporary), ...options.secrets };
  const host = options.host ?? "127.0.0.1";
  const port = options.port ?? (await freePort());
  const logs = [];
  let restarted = () => {};

  const note = (line) => {
    logs.push(line);
    if (logs.length > LOG_LINES) logs.shift();
    options.onLog?.(line);
  };
  const boot = async () => {
    const { worker, migrations } = await workerOptions(secrets);
    divide(worker, migrations, options.controlDatabases ?? 1);
    if (options.inspectObjects) makeObjectsInspectable(worker);
    options.configure?.(worker);
    // Read by Miniflare while it starts workerd, and again when it restarts it after a crash.
    if (options.wasmMaxMemPages) {
      process.env.MINIFLARE_WORKERD_V8_FLAGS = `--wasm-max-mem-pages=${options.wasmMaxMemPages}`;
    } else {
      delete process.env.MINIFLARE_WORKERD_V8_FLAGS;
    }
    const mf = new Miniflare(
      convertV4MiniflareOptions({
        ...worker,
        host,
        port,
        cf: false,
        resourcePersistencePath: state,
        unsafeInspectDurableObjects: Boolean(options.inspectObjects),
        handleStructuredLogs: ({ level, message }) => note({ level, message }),
        unsafeHandleRuntimeRestart: () => restarted(),
      }),
    );
    await mf.ready;
    for (const { binding, dir } of migrations) await migrate(await mf.getD1Database(binding), dir);
    return mf;
  };

  let mf = await boot();
  const service = {
    url: `http://${host}:${port}`,
    apiKey: secrets.FIVETRAN_API_KEY,
    apiSecret: secrets.FIVETRAN_API_SECRET,
    state,
    logs,
    /** The Miniflare of the moment; a restart replaces it. */
    get mf() {
      return mf;
    },
    /** A request with the service's own API key. `path` begins with a slash; a `body` is sent as JSON. */
    async api(method, path, body) {
      const response = await fetch(service.url + path, {
        method,
        headers: {
          authorization: `Basic ${Buffer.from(`${service.apiKey}:${service.apiSecret}`).toString("base64")}`,
          "content-type": "application/json",
        },
        body: body === undefined ? undefined : JSON.stringify(body),
      });
      const text = await response.text();
      return { status: response.status, headers: response.headers, body: parsed(text) };
    },
    /** Fires the cron trigger and waits until the handler returned. */
    async cron(at = new Date()) {
      const worker = await mf.getWorker();
      return worker.scheduled({ cron: "* * * * *", scheduledTime: at });
    },
    /** Drops one Durable Object from memory; its next call builds it anew from storage. */
    evict: (className, name) => mf.unsafeEvictDurableObject("", className, { name }),
    /** SQL inside a Durable Object's own storage; needs `inspectObjects`. */
    objectSql: async (className, name, sql, ...params) =>
      (await mf.unsafeGetDurableObjectStorage("", className, { name })).exec(sql, ...params),
    /** `kill -9` of the runtime, as in a crash: in-memory state and queued messages are gone. Waits for the new one. */
    async kill() {
      const [pid] = service.pids();
      if (!pid) throw new Error("workerd is not running");
      const back = new Promise((resolve) => (restarted = resolve));
      process.kill(pid, "SIGKILL");
      await back;
    },
    /** An orderly stop and start on the same state. */
    async restart() {
      await mf.dispose();
      mf = await boot();
    },
    d1: (binding) => mf.getD1Database(binding),
    r2: (binding) => mf.getR2Bucket(binding),
    /** Process ids of this service's workerd. */
    pids: () => runtimePids(host, port),
    /** Resident memory of workerd in bytes (Linux). */
    rss() {
      const [pid] = service.pids();
      const kib = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
      return Number(kib) * 1024;
    },
    async stop() {
      stopCron();
      await mf.dispose();
      if (temporary) rmSync(temporary, { recursive: true, force: true });
    },
  };
  const stopCron = options.cron ? everyMinute(() => service.cron()) : () => {};
  return service;
}

/** Worker options from wrangler.toml, by wrangler's own reading of it, with the built modules and the secrets. */
async function workerOptions(secrets) {
  const { unstable_getMiniflareWorkerOptions, unstable_readConfig } = await import("wrangler");
  const config = path.join(root, "wrangler.toml");
  const build = path.join(root, "build");
  if (!existsSync(path.join(build, "index.js"))) throw new Error("The Worker is not built. Run: npm run build");
  const { workerOptions: worker } = unstable_getMiniflareWorkerOptions(config);
  delete worker.modulesRules;
  worker.rootPath = root;
  worker.modules = [
    { type: "ESModule", path: path.join(build, "index.js") },
    { type: "CompiledWasm", path: path.join(build, "index_bg.wasm") },
  ];
  worker.modulesRoot = build;
  worker.bindings = { ...worker.bindings, ...secrets };
  addQueues(worker);
  const { d1_databases } = unstable_readConfig({ config });
  const migrations = d1_databases
    .filter((database) => database.migrations_dir)
    .map((database) => ({ binding: database.binding, dir: path.join(root, database.migrations_dir) }));
  return { worker, migrations };
}

/**
 * Miniflare serves one batch of a queue at a time, where Cloudflare runs up to `max_concurrency` consumers: one large sync
 * would hold up everybody. So there are several queues here, as a large deployment has them (docs/scale.md).
 */
function addQueues(worker, count = 4) {
  const [[name, consumer]] = Object.entries(worker.queueConsumers);
  for (let number = 2; number <= count; number += 1) {
    worker.queueProducers[`JOBS_${number}`] = { ...worker.queueProducers.JOBS, queueName: `${name}-${number}` };
    worker.queueConsumers[`${name}-${number}`] = consumer;
  }
}

/** Binds further databases of the control plane, as docs/scale.md has them in wrangler.toml. */
function divide(worker, migrations, count) {
  const [{ dir }] = migrations.filter(({ binding }) => binding === "DB");
  for (let number = 2; number <= count; number += 1) {
    const binding = `DB_${number}`;
    worker.d1Databases[binding] = { id: binding };
    migrations.push({ binding, dir });
  }
}

/** Miniflare looks into an object by calling a method of it, which only subclasses of DurableObject have; ours are not. */
function makeObjectsInspectable(worker) {
  const classes = Object.values(worker.durableObjects).map((object) => object.className ?? object);
  const contents = `import { DurableObject } from "cloudflare:workers";
import * as service from "./index.js";
export { default } from "./index.js";
const inspectable = (Inner) => class extends DurableObject {
  constructor(state, env) { super(state, env); this.inner = new Inner(state, env); }
  fetch(request) { return this.inner.fetch(request); }
  alarm() { return this.inner.alarm(); }
};
${classes.map((name) => `export const ${name} = inspectable(service.${name});`).join("\n")}
`;
  worker.modules.unshift({ type: "ESModule", path: path.join(worker.modulesRoot, "inspectable.js"), contents });
}

/** Applies what is missing, with the same bookkeeping as `wrangler d1 migrations apply`. */
async function migrate(db, dir) {
  const { unstable_splitSqlQuery } = await import("wrangler");
  await db
    .prepare(
      "CREATE TABLE IF NOT EXISTS d1_migrations(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, applied_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL)",
    )
    .run();
  const { results } = await db.prepare("SELECT name FROM d1_migrations").all();
  const applied = new Set(results.map((row) => row.name));
  for (const name of readdirSync(dir).filter((file) => file.endsWith(".sql")).sort()) {
    if (applied.has(name)) continue;
    const statements = unstable_splitSqlQuery(readFileSync(path.join(dir, name), "utf8"));
    await db.batch([
      ...statements.map((sql) => db.prepare(sql)),
      db.prepare("INSERT INTO d1_migrations(name) VALUES (?1)").bind(name),
    ]);
  }
}

/** The secrets of a state directory, made on first use. In the format of wrangler's `.dev.vars`. */
function readSecrets(state, keep) {
  const file = path.join(state, ".dev.vars");
  if (keep && existsSync(file)) {
    const lines = readFileSync(file, "utf8").split("\n").filter(Boolean);
    return Object.fromEntries(lines.map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]));
  }
  const secrets = newSecrets();
  if (keep) {
    const text = Object.entries(secrets).map(([name, value]) => `${name}=${value}\n`).join("");
    writeFileSync(file, text, { mode: 0o600 });
  }
  return secrets;
}

/** Fresh values for the three secrets that wrangler.toml documents. */
export function newSecrets() {
  return {
    FIVETRAN_API_KEY: randomBytes(12).toString("base64url"),
    FIVETRAN_API_SECRET: randomBytes(24).toString("base64url"),
    FIVETRAN_VAULT_KEYS: `k${new Date().getUTCFullYear()}:${randomBytes(32).toString("base64")}`,
  };
}

/** workerd processes that are our children and listen on this address. */
function runtimePids(host, port) {
  const processes = execFileSync("ps", ["-A", "-o", "pid=,ppid=,args="], { encoding: "utf8" }).split("\n");
  return processes
    .map((line) => /^\s*(\d+)\s+(\d+)\s+(.*)$/.exec(line))
    .filter((match) => match && Number(match[2]) === process.pid && match[3].includes(`=entry=${host}:${port} `))
    .map((match) => Number(match[1]));
}

function everyMinute(action) {
  let timer;
  const arm = () => {
    timer = setTimeout(async () => {
      try {
        await action();
      } catch (error) {
        console.error("cron:", error.message);
      }
      arm();
    }, 60_000 - (Date.now() % 60_000));
  };
  arm();
  return () => clearTimeout(timer);
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
