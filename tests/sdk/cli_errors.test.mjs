// What the command line says when it cannot do what it is told: one message that says what to do, exit code 1, no stack.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";
import { freePort } from "../../scripts/dev/net.mjs";
import { root } from "../../scripts/lib/paths.mjs";
import { failure, scripted } from "./server.mjs";

const SECRET = "s3cret-of-the-key";
const CONNECTOR = `{ id: "shop", source: { type: "postgres", url: "postgres://u:p@db/x" }, destination: { type: "d1", database: "A" } }`;
let folder;
before(() => {
  folder = mkdtempSync(path.join(tmpdir(), "fivetran-cli-errors-"));
  mkdirSync(path.join(folder, "node_modules", "@dotdo"), { recursive: true });
  symlinkSync(root, path.join(folder, "node_modules", "@dotdo", "fivetran"));
  writeFileSync(path.join(folder, "fivetran.config.mjs"), `export default { connectors: [${CONNECTOR}] };`);
});
after(() => rmSync(folder, { recursive: true, force: true }));

/** Runs a command line that must fail, and gives what it says. */
function refused(args, url = "http://127.0.0.1:9") {
  const env = { PATH: process.env.PATH, HOME: folder, FIVETRAN_URL: url, FIVETRAN_API_KEY: "k", FIVETRAN_API_SECRET: SECRET };
  return new Promise((resolve) => {
    execFile(process.execPath, [path.join(root, "bin/fivetran.mjs"), ...args], { cwd: folder, env }, (error, stdout, stderr) => {
      assert.deepEqual([error?.code, stdout], [1, ""], `${args}: ${stderr}`);
      assert.ok(!stderr.includes(SECRET) && !/^ +at /m.test(stderr) && stderr.trim().split("\n").length === 1, stderr);
      resolve(stderr);
    });
  });
}

const COMMANDS = [["plan"], ["apply", "--yes"], ["sync"], ["status"], ["logs", "shop"], ["connectors"], ["vault", "keys"], ["vault", "reseal"]];

test("a stopped service: every command says where it looked, why it failed and where the address comes from", async () => {
  const url = `http://127.0.0.1:${await freePort()}`;
  for (const args of COMMANDS) {
    const said = await refused(args, url);
    for (const part of [`The service at ${url} could not be reached`, "ECONNREFUSED", "Is it running", "--url, FIVETRAN_URL"]) {
      assert.ok(said.includes(part), `${args}: ${said}`);
    }
  }
  assert.match(await refused(["login"], url), /ECONNREFUSED.*Nothing was kept\.$/m);
  assert.ok(!existsSync(path.join(folder, ".config")));
});

test("a wrong key: every command says so, once, and what to do", async (t) => {
  const server = await scripted(t, () => failure(401, "AuthFailed", "Invalid authorization credentials", { "x-request-id": "r-1" }));
  for (const args of COMMANDS) {
    const said = await refused(args, server.url);
    assert.equal(said, "Invalid authorization credentials (request r-1). The service does not know this key and secret. Check FIVETRAN_API_KEY and FIVETRAN_API_SECRET, or run: fivetran login\n", `${args}`);
  }
  assert.match(await refused(["login"], server.url), /does not know this key and secret\. Nothing was kept\./);
});

test("an address that is none, or somebody else's", async (t) => {
  assert.match(await refused(["plan"], "nonsense"), /^The address of the service: "nonsense" is not an http or https URL\. It comes from --url/);
  const other = await scripted(t, () => ({ headers: { "content-type": "text/html" }, body: "<html>" }));
  assert.match(await refused(["connectors"], other.url), /is not JSON: is the base URL that of a fivetran\.do service\? Is it running/);
});

test("a configuration that does not load, or is none, is named with what is wrong in it", async () => {
  for (const [text, says] of [
    ["export default {", /broken\.mjs cannot be loaded: SyntaxError: /],
    [`throw new Error("DATABASE_URL is not set")`, /broken\.mjs cannot be loaded: Error: DATABASE_URL is not set\.$/m],
    [`import "no-such-package"`, /broken\.mjs cannot be loaded: Error: Cannot find package 'no-such-package'/],
    ["export default 7", /broken\.mjs: export default defineConfig/],
    [`export default { connectors: [${CONNECTOR}, null] }`, /broken\.mjs: connectors\[1\] has no id/],
    [`export default { connectors: [{ id: "a", source: { type: "" }, destination: { type: "d1", database: "A" } }] }`, /^Connector a: source\.type: /],
  ]) {
    writeFileSync(path.join(folder, "broken.mjs"), text);
    assert.match(await refused(["plan", "--config", "broken.mjs"]), says);
  }
});

test("words that a command does not take are refused before anything is done", async () => {
  for (const command of ["plan", "apply", "connectors", "init", "login"]) {
    assert.equal(await refused([command, "shop"]), `fivetran ${command} takes no names, and there is shop. Nothing was done.\n`);
  }
  assert.match(await refused(["vault", "dance"]), /fivetran vault keys, or fivetran vault reseal/);
  assert.match(await refused(["logs", "shop", "--limit", "many"]), /--limit: many is not a whole number above 0/);
  assert.match(await refused(["sync", "--timeout", "0"]), /--timeout: 0 is not/);
});
