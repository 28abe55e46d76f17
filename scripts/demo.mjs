// npm run demo: everything from nothing. Installs and builds what is missing, then runs the demo itself under the Node
// that the tools need. Only built-in modules here: at this point nothing may be installed yet.
import { spawnSync } from "node:child_process";
import path from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const bin = (name) => path.join(ROOT, "node_modules", ".bin", name);

function run(command, ...args) {
  const { status, error } = spawnSync(command, args, { cwd: ROOT, stdio: "inherit" });
  if (error) throw error;
  if (status !== 0) process.exit(status ?? 1);
}

const started = Date.now();
run(process.execPath, "scripts/setup.mjs");
run(bin("node"), "scripts/build.mjs");
run(bin("tsc"), "-p", "src/sdk");
process.env.DEMO_STARTED = String(started);
run(bin("node"), "scripts/demo/main.mjs");
