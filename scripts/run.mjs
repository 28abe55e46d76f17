// Starts one of the commands in package.json: installs what is missing, then runs the script under the Node of
// node_modules. Wrangler and Miniflare need a newer Node than many machines have, and on the first run not even
// node_modules is there, so this file may import neither.
import { spawn } from "node:child_process";
import path from "node:path";
import { root } from "./lib/paths.mjs";
import { nodeTool } from "./lib/tools.mjs";
import { setup } from "./setup.mjs";

const [name, ...args] = process.argv.slice(2);
const NEEDS_TEST_TOOLS = new Set(["test", "watch", "coverage", "chaos"]);

try {
  await setup({ tests: NEEDS_TEST_TOOLS.has(name) });
} catch (error) {
  console.error(error.message);
  process.exit(1);
}
const child = spawn(nodeTool("node"), [path.join(root, "scripts", `${name}.mjs`), ...args], {
  cwd: root,
  stdio: "inherit",
  env: { ...process.env, PATH: `${path.dirname(nodeTool("node"))}:${process.env.PATH}`, WRANGLER_SEND_METRICS: "false" },
});
// The terminal signals the whole group; a supervisor signals only us.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
child.once("exit", (code, signal) => process.exit(code ?? (signal === "SIGINT" ? 130 : 1)));
