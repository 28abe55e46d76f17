import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

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
  const text = readFileSync(path.join(ROOT, "docs/sdk.md"), "utf8");
  const examples = [...text.matchAll(/```ts\n(.*?)```/gs)].map(([, code]) => code);
  assert.ok(examples.length > 10);
  const files = examples.map((code, index) => {
    const name = `example-${index}.ts`;
    // In a function of its own, an example may declare again what is given.
    const imports = code.match(/^import .*$/gm) ?? [];
    const body = code.replaceAll(/^import .*$/gm, "").replaceAll(/^export default /gm, "return ");
    writeFileSync(path.join(folder, name), `${imports.join("\n")}\nexport async function example() {\n${body}\n}\n`);
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
