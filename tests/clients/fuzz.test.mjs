// Schemathesis against our own OpenAPI document on the live service: whatever it sends, the answer is one the document
// declares, in the shape it declares, and nothing answers without the key.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { before, test } from "node:test";
import { DATABASE } from "../e2e/support/landed.mjs";
import { startWorld } from "../e2e/support/world.mjs";
import { clientPython } from "../../scripts/lib/tools.mjs";

const world = await startWorld();

/** Left out: `negative_data_rejection` (unknown fields and numbers as text are accepted, as Fivetran does) and
 * `positive_data_acceptance` (a well-formed configuration of a database that is not there is refused). */
const CHECKS = [
  "not_a_server_error",
  "unsupported_method",
  "status_code_conformance",
  "content_type_conformance",
  "response_headers_conformance",
  "response_schema_conformance",
  "ignored_auth",
  "use_after_free",
];

/** Each run's share of the minute that this step may take. */
const RUN_SECONDS = 25;
const SEED = 4;

/** Ids of things that exist, so that not every answer is a 404. */
const existing = {};

before(async () => {
  await world.pg.query("CREATE TABLE orders (id integer PRIMARY KEY, note text); INSERT INTO orders VALUES (1, 'one')");
  existing.group_id = await world.destination("d1", { binding: DATABASE });
  existing.destination_id = existing.group_id;
  const { id } = await world.connection(existing.group_id, { config: { schema_prefix: "fuzzed" } });
  existing.connection_id = id;
  existing.run_id = (await world.synced(id)).id;
});

/** One worker: two threads that parse Python at once are what Python 3.11 trips over (python/cpython 106905). */
async function fuzz(phases, args, parameters = {}) {
  const folder = mkdtempSync(path.join(tmpdir(), "fivetran-fuzz-"));
  const config = path.join(folder, "schemathesis.toml");
  const lines = Object.entries(parameters).map(([name, value]) => `"path.${name}" = ${JSON.stringify(value)}`);
  writeFileSync(config, `[parameters]\n${lines.join("\n")}\n`);
  const { apiKey, apiSecret, url } = world.service;
  const child = spawn(
    path.join(path.dirname(clientPython("schemathesis")), "schemathesis"),
    ["--config-file", config, "run", `${url}/v1/openapi.json`, "--auth", `${apiKey}:${apiSecret}`, "--checks", CHECKS.join(","),
      "--phases", phases, "--seed", String(SEED), "--no-shrink", "--continue-on-failure", "--workers", "1", "--warnings", "off", ...args],
    { cwd: folder, stdio: ["ignore", "pipe", "pipe"], env: { PATH: process.env.PATH, HOME: folder, NO_COLOR: "1" } },
  );
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text) => (output += text));
  const code = await new Promise((resolve) => child.once("close", resolve));
  rmSync(folder, { recursive: true, force: true });
  return { code, output };
}

async function holds(...args) {
  const { code, output } = await fuzz(...args);
  const [generated] = /^.*\d+ generated.*$/m.exec(output) ?? ["nothing was generated"];
  console.log(generated.trim());
  assert.equal(code, 0, output.slice(-12_000));
}

test("i10_no_request_ends_in_a_5xx_or_in_an_answer_outside_the_document", async () => {
  await holds("examples,coverage,stateful", ["--max-examples", "3", "--max-time", String(RUN_SECONDS)]);
});

test("i10_nor_does_one_about_things_that_exist", async () => {
  // Deleting them would make everything after it a 404.
  await holds("fuzzing", ["--max-examples", "12", "--max-time", String(RUN_SECONDS), "--exclude-method", "DELETE"], existing);
  assert.equal((await world.service.api("GET", `/v1/connections/${existing.connection_id}`)).status, 200);
});
