// The examples of docs/sdk.md, as a reader would use them: they compile, and they do what they say with a real service.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHmac } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { transformSync } from "esbuild";
import * as sdk from "../../dist/sdk/index.js";
import { startPostgres } from "../../scripts/dev/postgres.mjs";
import { startService } from "../../scripts/dev/service.mjs";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

const examples = [...readFileSync(path.join(ROOT, "docs/sdk.md"), "utf8").matchAll(/```ts\n(.*?)```/gs)].map(([, code]) => code);

/** An example's imports, and the rest as the body of a function: there it may declare again what is given. */
function parts(code) {
  const body = code.replaceAll(/^import .*$/gm, "").replaceAll(/^export default /gm, "return ");
  return { imports: (code.match(/^import .*$/gm) ?? []).join("\n"), body };
}

// What the examples take for granted.
const GIVEN = `
declare const apiKey: string, apiSecret: string, password: string, secret: string
declare const databaseId: string, accountId: string, apiToken: string
declare const env: { FIVETRAN: import('@dotdo/fivetran').Fetcher; ANALYTICS_DB: object; HYPERDRIVE: object }
declare const process: { env: { DATABASE_URL: string } }
declare const controller: AbortController
declare const fivetran: import('@dotdo/fivetran').Fivetran
declare const shop: import('@dotdo/fivetran').Connector
`;

test("the examples of docs/sdk.md compile", (t) => {
  const folder = mkdtempSync(path.join(tmpdir(), "fivetran-docs-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  assert.ok(examples.length > 10);
  const files = examples.map((code, index) => {
    const name = `example-${index}.ts`;
    const { imports, body } = parts(code);
    writeFileSync(path.join(folder, name), `${imports}\nexport async function example() {\n${body}\n}\n`);
    return name;
  });
  writeFileSync(path.join(folder, "given.d.ts"), GIVEN);
  const compilerOptions = {
    strict: true,
    noEmit: true,
    module: "esnext",
    moduleResolution: "bundler",
    target: "es2023",
    lib: ["es2023", "dom", "dom.asynciterable"],
    types: [],
    paths: { "@dotdo/fivetran": [path.join(ROOT, "src/sdk/index.ts")] },
  };
  writeFileSync(path.join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions, files: [...files, "given.d.ts"] }));
  try {
    execFileSync(path.join(ROOT, "node_modules/.bin/tsc"), ["-p", folder], { encoding: "utf8" });
  } catch (error) {
    assert.fail(error.stdout ?? error.message);
  }
});

test("the examples of docs/sdk.md run, from the first to the last, against the service", async (t) => {
  const [postgres, service] = await Promise.all([startPostgres(), startService()]);
  const receiver = createServer((request, response) => request.resume().on("end", () => response.end()));
  await new Promise((resolve) => receiver.listen(0, "127.0.0.1", resolve));
  t.after(() => Promise.all([postgres.stop(), service.stop(), receiver.close()]));
  await postgres.query(`CREATE TABLE orders (id integer PRIMARY KEY, total numeric(10,2)); INSERT INTO orders SELECT i, i FROM generate_series(1, 20) i;
    CREATE TABLE customers (id integer PRIMARY KEY, email text); INSERT INTO customers VALUES (1, 'a@example.com');
    CREATE TABLE audit (id integer PRIMARY KEY)`);
  // The addresses the examples make up, and those of this test.
  const addresses = [
    ["https://fivetran.example.workers.dev", service.url],
    ["https://receiver.example", `http://127.0.0.1:${receiver.address().port}`],
    ["host: 'db.example.com', database: 'shop'", `host: '${postgres.host}', port: ${postgres.port}, database: '${postgres.database}'`],
    ["user: 'reader'", `user: '${postgres.user}'`],
  ];
  const { apiKey, apiSecret } = service;
  const client = () => new sdk.Fivetran({ apiKey, apiSecret, baseUrl: service.url });
  const definition = {
    id: "shop-prod",
    source: { type: "postgres", url: postgres.url, tables: ["public.orders", "public.customers"] },
    destination: { type: "d1", database: "ANALYTICS_DB" },
    sync: { schedule: "every 15 minutes", mode: "incremental" },
  };
  const said = [];
  const returned = [];
  for (const code of examples) {
    const own = client();
    const given = {
      ...sdk, apiKey, apiSecret, password: postgres.password, secret: "of the webhook", fivetran: own,
      databaseId: "d", accountId: "a", apiToken: "t",
      env: { FIVETRAN: { fetch: (url, init) => fetch(service.url + new URL(url).pathname, init) }, ANALYTICS_DB: {}, HYPERDRIVE: {} },
      process: { env: { DATABASE_URL: postgres.url } },
      controller: new AbortController(),
      shop: own.createConnector({ ...definition, source: { ...definition.source, tables: undefined } }),
      console: { log: (...words) => void said.push(words.join(" ")), error: (...words) => assert.fail(words.join(" ")) },
    };
    const text = addresses.reduce((text, [from, to]) => text.replaceAll(from, to), `async () => {${parts(code).body}}`);
    const { code: script } = transformSync(text, { loader: "ts" });
    try {
      returned.push(await new Function(...Object.keys(given), `return (${script.trim().replace(/;$/, "")})()`)(...Object.values(given)));
    } catch (error) {
      throw new Error(`This example does not run: ${error.message}\n${code}`, { cause: error });
    }
  }
  for (const clue of [/^public orders \d+ 0$/m, /^1 SUCCESSFUL 21$/m, /sync_start/, /^Account Administrator /m]) assert.match(said.join("\n"), clue);

  // What an example would answer webhooks with.
  const worker = returned.find((value) => value?.fetch);
  const event = JSON.stringify({ event: "sync_end", connector_name: "shop", sync_id: "s1", data: { status: "SUCCESSFUL" } });
  const signature = createHmac("sha256", "of the webhook").update(event).digest("hex").toUpperCase();
  const send = (headers) => worker.fetch(new Request("https://receiver.example", { method: "POST", body: event, headers }));
  assert.equal((await send({ "X-Fivetran-Signature-256": signature })).status, 204);
  assert.equal(said.at(-1), "shop s1");
  assert.equal((await send({})).status, 401);
});
