// `npm run test:watch`: the native tests again after each change. Arguments go to `cargo test` (a filter, for example).
import { watch } from "node:fs";
import path from "node:path";
import { root } from "./lib/paths.mjs";
import { run } from "./lib/process.mjs";
import { cargoEnv } from "./lib/tools.mjs";

const QUIET_MS = 200;
let timer;
let running = false;
let again = false;

async function test() {
  if (running) {
    again = true;
    return;
  }
  running = true;
  try {
    await run("cargo", ["test", "--quiet", ...process.argv.slice(2)], { env: cargoEnv() });
  } catch (error) {
    console.error(error.message);
  }
  running = false;
  console.log("waiting for a change in src or tests");
  if (again) {
    again = false;
    await test();
  }
}

for (const dir of ["src", "tests", "migrations"]) {
  watch(path.join(root, dir), { recursive: true }, () => {
    clearTimeout(timer);
    timer = setTimeout(test, QUIET_MS);
  });
}
await test();
