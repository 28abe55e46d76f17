// The command line as people run it: a process, in a folder with a configuration file, against the real service.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";
import { startPostgres } from "../../scripts/dev/postgres.mjs";
import { startService } from "../../scripts/dev/service.mjs";
import { root } from "../../scripts/lib/paths.mjs";

const bin = path.join(root, "bin", "fivetran.mjs");
let postgres;
let service;
let folder;

before(async () => {
  [postgres, service] = await Promise.all([startPostgres(), startService()]);
  await postgres.query("CREATE TABLE orders (id bigint PRIMARY KEY, note text); INSERT INTO orders SELECT n, 'order ' || n FROM generate_series(1, 300) n");
  folder = mkdtempSync(path.join(tmpdir(), "fivetran-cli-"));
  mkdirSync(path.join(folder, "node_modules", "@dotdo"), { recursive: true });
  symlinkSync(root, path.join(folder, "node_modules", "@dotdo", "fivetran"));
});
after(async () => {
  rmSync(folder, { recursive: true, force: true });
  await Promise.all([postgres?.stop(), service?.stop()]);
});

/** Environment of a person who is logged in; `login` is tested with less. */
const known = () => ({ FIVETRAN_URL: service.url, FIVETRAN_API_KEY: service.apiKey, FIVETRAN_API_SECRET: service.apiSecret });

/** Runs the command line and gives exit code and output. Secrets may never be in it. */
function fivetran(args, env = known()) {
  return new Promise((resolve) => {
    const options = { cwd: folder, env: { PATH: process.env.PATH, HOME: folder, DATABASE_URL: postgres.url, ...env } };
    execFile(process.execPath, [bin, ...args], options, (error, stdout, stderr) => {
      assert.ok(!(stdout + stderr).includes(postgres.password), `${args}: the password of the source is printed`);
      assert.ok(!(stdout + stderr).includes(service.apiSecret), `${args}: the API secret is printed`);
      resolve({ code: error?.code ?? 0, stdout, stderr });
    });
  });
}

const configure = (connectors, file = "fivetran.config.mjs") =>
  writeFileSync(path.join(folder, file), `import { defineConfig } from "@dotdo/fivetran";\nexport default defineConfig({ connectors: ${connectors} });\n`);

const shop = (more = "") => `{ id: "cli-shop", source: { type: "postgres", url: process.env.DATABASE_URL, sslmode: "disable" },
  destination: { type: "d1", database: "ANALYTICS_DB", group: "cli" }, sync: { schedule: "hourly" }, ${more} }`;

test("login keeps what the service accepts, for its owner alone, and nothing else", async () => {
  const flags = ["--url", service.url, "--key", service.apiKey];
  const wrong = await fivetran(["login", ...flags, "--secret", "wrong"], {});
  assert.equal(wrong.code, 1);
  assert.equal((await fivetran(["connectors"], {})).code, 1);
  const right = await fivetran(["login", ...flags], { FIVETRAN_API_SECRET: service.apiSecret });
  assert.equal(right.code, 0, right.stderr);
  const file = path.join(folder, ".config", "fivetran", "credentials");
  assert.equal(statSync(file).mode & 0o777, 0o600);
  assert.equal((await fivetran(["connectors"], {})).code, 0);
});

test("init writes a configuration that plans, and never over one that is there", async () => {
  assert.equal((await fivetran(["plan"])).code, 1);
  assert.equal((await fivetran(["init"])).code, 0);
  const written = await fivetran(["plan"]);
  assert.equal(written.code, 0, written.stderr);
  assert.match(written.stdout, /\+ shop: create[^]*schedule: every 15 minutes[^]*source\.url: \*{6}[^]*1 to create/);
  assert.equal((await fivetran(["init"])).code, 1);
});

test("a plan shows what apply does, and after it nothing is left to do", async () => {
  configure(`[${shop()}]`);
  assert.equal((await fivetran(["plan", "--check"])).code, 2);
  const unasked = await fivetran(["apply"]);
  assert.equal(unasked.code, 1);
  assert.match(unasked.stderr, /--yes/);
  assert.equal((await service.api("GET", "/v1/connections")).body.data.items.length, 0, "an apply nobody agreed to does nothing");
  assert.equal((await fivetran(["status"])).stdout, "cli-shop: not applied\n");
  assert.match((await fivetran(["sync"])).stderr, /fivetran apply/);

  const applied = await fivetran(["apply", "--yes"]);
  assert.equal(applied.code, 0, applied.stderr);
  assert.match(applied.stdout, /cli-shop: created \(\w+, connected\)/);
  const again = await fivetran(["plan", "--check"]);
  assert.deepEqual([again.code, again.stdout], [0, "= cli-shop\n0 to create, 0 to update, 0 to delete, 1 unchanged\n"]);
});

test("an update is shown field by field, and made", async () => {
  configure(`[${shop().replace('"hourly"', '"every 6 hours", paused: true')}]`);
  const { stdout } = await fivetran(["plan", "--json"]);
  const [{ action, changes }] = JSON.parse(stdout).connectors;
  assert.equal(action, "update");
  assert.deepEqual(changes, [
    { field: "schedule", from: "every hour", to: "every 6 hours" },
    { field: "paused", from: false, to: true },
  ]);
  assert.match((await fivetran(["apply", "--yes"])).stdout, /schedule: every hour → every 6 hours[^]*cli-shop: updated/);
  assert.match((await fivetran(["status"])).stdout, /^cli-shop: paused/);
});

test("what the file no longer mentions is deleted only with --prune", async () => {
  configure(`[${shop('schema: "cli_other"').replace("cli-shop", "cli-other")}, ${shop("sync: { paused: false, schedule: 'manual' }").replace('sync: { schedule: "hourly" }, ', "")}]`);
  assert.equal((await fivetran(["apply", "--yes"])).code, 0);
  configure(`[${shop("sync: { paused: false }").replace('sync: { schedule: "hourly" }, ', "")}]`);
  const kept = await fivetran(["plan", "--check"]);
  assert.equal(kept.code, 0);
  assert.match(kept.stdout, /cli_other \(\w+\) is not in the configuration; --prune deletes it/);
  assert.equal((await fivetran(["plan", "--check", "--prune"])).code, 2);
  assert.match((await fivetran(["apply", "--prune", "--yes"])).stdout, /- cli_other: delete[^]*cli_other: deleted/);
  const { items } = (await service.api("GET", "/v1/connections")).body.data;
  assert.deepEqual(items.map(({ schema }) => schema), ["cli_shop"]);
});

test("sync, status and logs tell how it went, also when it went wrong", async () => {
  assert.match((await fivetran(["sync", "cli-shop"])).stdout, /^cli-shop: 300 rows in 1 tables \(run /);
  await postgres.query("DELETE FROM orders WHERE id = 1");
  assert.match((await fivetran(["sync", "--resync"])).stdout, /299 rows in 1 tables, 1 marked deleted/);
  assert.match((await fivetran(["status"])).stdout, /^cli-shop: healthy, last sync 20/);
  const { stdout } = await fivetran(["logs", "cli-shop", "--json", "--limit", "3"]);
  const events = stdout.trim().split("\n").map((text) => JSON.parse(text));
  assert.deepEqual([events.length, events.at(-1).event], [3, "sync_end"]);
  assert.equal((await fivetran(["sync", "nobody"])).code, 1);
  assert.equal((await fivetran(["logs"])).code, 1);
  assert.equal((await fivetran(["dance"])).code, 1);
  assert.equal((await fivetran(["plan", "--chekc"])).code, 1);
  assert.equal((await fivetran(["--help"])).code, 0);
});

test("a configuration in TypeScript works where Node runs it", { skip: !process.features.typescript }, async () => {
  writeFileSync(path.join(folder, "typed.ts"), `import { defineConfig, type FivetranConfig } from "@dotdo/fivetran";\nconst config: FivetranConfig = { connectors: [] };\nexport default defineConfig(config);\n`);
  assert.match((await fivetran(["plan", "--config", "typed.ts"])).stdout, /^0 to create/);
});

test("the examples of docs/cli.md run", async () => {
  const text = readFileSync(path.join(root, "docs", "cli.md"), "utf8");
  const [, config] = /```js\n(.*?)```/s.exec(text);
  const [, lines] = /```sh\n(.*?)```/s.exec(text);
  writeFileSync(path.join(folder, "fivetran.config.mjs"), config);
  for (const line of lines.trim().split("\n")) {
    const [command, comment = ""] = line.split("#").map((part) => part.trim());
    const args = command.replace("$FIVETRAN_URL", service.url).split(" ");
    assert.deepEqual(args.splice(0, 2), ["npx", "fivetran"]);
    const { code, stdout, stderr } = await fivetran(args);
    assert.equal(code, Number(/exits with (\d)/.exec(comment)?.[1] ?? 0), `${line}\n${stdout}${stderr}`);
    if (/^\d|^\+/.test(comment)) assert.ok(stdout.includes(comment.replace(" …", "")), `${line}\n${stdout}`);
  }
});
