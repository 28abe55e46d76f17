// `npm run test:coverage`: line coverage of the crate by its native tests, with cargo-llvm-cov. What only runs as WASM
// (src/platform, the entry points) is excluded: the end-to-end tests prove it, and no tool measures it there.
import path from "node:path";
import { setupCoverage } from "./setup.mjs";
import { cacheDir, root } from "./lib/paths.mjs";
import { run } from "./lib/process.mjs";
import { cargoEnv } from "./lib/tools.mjs";

const bin = await setupCoverage();
const env = { ...cargoEnv() };
// Instrumented code gets a target directory of its own, or it would evict the test build.
env.CARGO_TARGET_DIR = path.join(process.env.CARGO_TARGET_DIR || path.join(cacheDir, "target"), "coverage");
env.PATH = `${bin}:${env.PATH}`;
const args = process.argv.slice(2);
await run("cargo", ["llvm-cov", "--summary-only", "--ignore-filename-regex", "src/platform/", ...args], { env, cwd: root });
