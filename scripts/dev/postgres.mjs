// A throw-away PostgreSQL server for tests and benchmarks: a real one, because what a source must get right (types,
// visibility, COPY, TLS) is exactly what an imitation gets wrong.
import { execFileSync, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import pg from "pg";
import { certificate } from "./certificates.mjs";
import { freePort } from "./net.mjs";

/**
 * Starts a cluster on a free port with SCRAM authentication.
 *
 * @param {object} [options]
 * @param {boolean} [options.ssl] Offer TLS, with a certificate for `localhost` and 127.0.0.1 from our own authority.
 * @param {Record<string, string>} [options.settings] Further settings, such as `wal_level`.
 */
export async function startPostgres({ ssl = false, settings = {} } = {}) {
  const bin = binDirectory();
  if (!bin) throw new Error("PostgreSQL is not installed. Run: npm run setup");
  const base = mkdtempSync(path.join(tmpdir(), "fivetran-pg-"));
  // The server refuses to run as root; as root it gets the account of the package.
  const user = process.getuid() === 0 ? account("postgres") : {};
  const own = (file) => user.uid !== undefined && chownSync(file, user.uid, user.gid);
  own(base);
  const data = path.join(base, "data");
  const password = randomBytes(12).toString("base64url");
  const passwordFile = path.join(base, "password");
  writeFileSync(passwordFile, password, { mode: 0o600 });
  own(passwordFile);
  execFileSync(
    path.join(bin, "initdb"),
    ["-D", data, "-U", "postgres", "-E", "UTF8", "--locale=C", "-A", "scram-sha-256", "--pwfile", passwordFile, "--no-sync"],
    { ...user, cwd: base, stdio: "pipe" },
  );
  const port = await freePort();
  const all = {
    port,
    listen_addresses: "127.0.0.1",
    unix_socket_directories: base,
    // Nothing here outlives the test, so durability would only cost time.
    fsync: "off",
    synchronous_commit: "off",
    full_page_writes: "off",
    max_wal_size: "4GB",
    shared_buffers: "256MB",
    ...settings,
  };
  let caFile;
  if (ssl) {
    const made = certificate(base, ["DNS:localhost", "IP:127.0.0.1"]);
    own(made.key);
    own(made.cert);
    Object.assign(all, { ssl: "on", ssl_key_file: made.key, ssl_cert_file: made.cert });
    caFile = made.ca;
  }
  const flags = Object.entries(all).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
  const log = [];
  let server;
  let exited;
  const launch = () => {
    server = spawn(path.join(bin, "postgres"), ["-D", data, ...flags], { ...user, cwd: base, stdio: ["ignore", "pipe", "pipe"] });
    for (const stream of [server.stdout, server.stderr]) stream.on("data", (text) => log.push(String(text)));
    // Closed, not only ended: the server's own children hold its output open, and the shared memory with it.
    exited = new Promise((resolve) => server.once("close", resolve));
  };
  const abandoned = () => server.kill("SIGQUIT");
  process.once("exit", abandoned);
  launch();
  const cluster = {
    host: "127.0.0.1",
    port,
    user: "postgres",
    password,
    database: "postgres",
    caFile,
    url: `postgres://postgres:${password}@127.0.0.1:${port}/postgres`,
    /** Lines the server logged. */
    log,
    /** Runs SQL as superuser; several statements are fine without parameters. */
    async query(sql, params, database = "postgres") {
      const client = new pg.Client({ host: "127.0.0.1", port, user: "postgres", password, database });
      await client.connect();
      try {
        return await client.query(sql, params);
      } finally {
        await client.end();
      }
    },
    /** `kill -9` of the server, as when it runs out of memory; what was committed stays. */
    async crash() {
      // Where commits are asynchronous (see above), the last ones may not have reached the log yet.
      if (all.synchronous_commit === "off") await cluster.query("CHECKPOINT");
      server.kill("SIGKILL");
      await exited;
    },
    /** Starts it again after a crash, on the same port and data. */
    async start() {
      launch();
      await ready(cluster, server);
    },
    /** Stops at once, as if the machine had lost power, and removes everything. */
    async stop() {
      process.removeListener("exit", abandoned);
      server.kill("SIGQUIT");
      await exited;
      rmSync(base, { recursive: true, force: true });
    },
  };
  await ready(cluster, server);
  return cluster;
}

/** Where initdb and postgres are, or undefined. */
export function binDirectory() {
  const lib = "/usr/lib/postgresql";
  const packaged = existsSync(lib) ? readdirSync(lib).sort((a, b) => Number(b) - Number(a)) : [];
  const candidates = [...(process.env.PATH ?? "").split(":"), ...packaged.map((version) => path.join(lib, version, "bin"))];
  return candidates.find((dir) => existsSync(path.join(dir, "initdb")) && existsSync(path.join(dir, "postgres")));
}

async function ready(cluster, server) {
  for (;;) {
    try {
      await cluster.query("SELECT 1");
      return;
    } catch (error) {
      // 57P03: still starting up.
      if (server.exitCode !== null || (error.code !== "ECONNREFUSED" && error.code !== "57P03")) {
        throw new Error(`PostgreSQL did not start: ${error.message}\n${cluster.log.join("")}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

function account(name) {
  const id = (flag) => Number(execFileSync("id", [flag, name], { encoding: "utf8" }));
  return { uid: id("-u"), gid: id("-g") };
}
