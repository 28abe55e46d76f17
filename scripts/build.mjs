// Builds the Worker into build/. `--release` also runs wasm-opt, which takes minutes, for deployment; without it the
// module is compiled the same way (fat LTO, opt-level 3), only larger.
import { createHash } from "node:crypto";
import { copyFileSync, existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { gzipSync } from "node:zlib";
import { cacheDir, root } from "./lib/paths.mjs";
import { withLock } from "./lib/lock.mjs";
import { run } from "./lib/process.mjs";
import { cargoEnv, cargoTools, nodeTool, toolPath } from "./lib/tools.mjs";

/** Our own budget for the compressed module: the free plan's old limit, and what keeps the start-up short. */
const GZIP_LIMIT = 3 * 1024 * 1024;

/** Cloudflare's limit for the start-up of a Worker, in milliseconds. */
const STARTUP_LIMIT_MS = 1000;

// worker-build's own flags, and SIMD, which .cargo/config.toml turns on. The names section stays: it is what makes a
// stack trace of production readable, at about a tenth of the size.
const WASM_OPT = [
  "-O3", "--debuginfo",
  ...["mutable-globals", "sign-ext", "nontrapping-float-to-int", "bulk-memory", "multivalue", "reference-types",
    "exception-handling", "simd"].map((feature) => `--enable-${feature}`),
];

const output = path.join(root, "build");
const module = path.join(output, "index_bg.wasm");
const stamp = path.join(output, ".built.json");

/** Builds unless nothing changed; returns sizes in bytes and start-up in milliseconds. */
export async function build({ release = false } = {}) {
  const inputs = hashInputs();
  const last = existsSync(stamp) && existsSync(module) ? JSON.parse(readFileSync(stamp, "utf8")) : undefined;
  if (last?.inputs === inputs && (last.release || !release)) return last;
  const env = cargoEnv();
  // Two clones share the target directory, and cargo's own lock ends before wasm-bindgen reads what cargo wrote.
  await withLock(path.join(env.CARGO_TARGET_DIR, "worker-build.lock"), () =>
    run(toolPath("worker-build"), ["--release", "--no-opt"], { env }),
  );
  if (release) await optimise();
  const wasm = readFileSync(module);
  const result = { inputs, release, bytes: wasm.length, gzip: gzipSync(wasm, { level: 9 }).length, startupMs: await startup() };
  writeFileSync(stamp, JSON.stringify(result));
  return result;
}

/** Prints the numbers and throws when one is over its limit. */
export function judge({ bytes, gzip, startupMs, release }) {
  const mib = (n) => `${(n / 1024 / 1024).toFixed(2)} MiB`;
  const kind = release ? "optimised" : "not optimised";
  console.log(`wasm ${bytes} bytes (${mib(bytes)}, ${kind}), gzip ${gzip} bytes (${mib(gzip)} of ${mib(GZIP_LIMIT)}), start-up ${startupMs} ms`);
  if (gzip > GZIP_LIMIT && release) throw new Error(`The module is ${gzip - GZIP_LIMIT} bytes over its gzip budget`);
  if (startupMs > STARTUP_LIMIT_MS) throw new Error(`The module takes ${startupMs} ms to start; Cloudflare allows ${STARTUP_LIMIT_MS}`);
}

/** Builds as the tests want it: quickly, and optimised only if the quick module does not keep the budget by itself. */
export async function buildWithinBudget() {
  const quick = await build();
  return quick.gzip > GZIP_LIMIT ? build({ release: true }) : quick;
}

async function optimise() {
  const key = createHash("sha256").update(readFileSync(module)).update(WASM_OPT.join(" ")).update(wasmOptVersion()).digest("hex");
  const cached = path.join(cacheDir, "wasm-opt", `${key}.wasm`);
  if (!existsSync(cached)) {
    mkdirSync(path.dirname(cached), { recursive: true });
    const aside = `${cached}.${process.pid}`;
    console.log("optimising with wasm-opt (a few minutes; kept for this very module)");
    await run(nodeTool("node"), [nodeTool("wasm-opt"), module, "-o", aside, ...WASM_OPT]);
    renameSync(aside, cached);
  }
  copyFileSync(cached, module);
}

const wasmOptVersion = () => JSON.parse(readFileSync(path.join(root, "node_modules/binaryen/package.json"), "utf8")).version;

/** Time from an unstarted isolate to the first answer, less that of a second request: compilation and instantiation. */
async function startup() {
  const { startService } = await import("./dev/service.mjs");
  const service = await startService();
  try {
    const took = async () => {
      const began = performance.now();
      await (await fetch(`${service.url}/healthz`)).arrayBuffer();
      return performance.now() - began;
    };
    const first = await took();
    return Math.round(first - (await took()));
  } finally {
    await service.stop();
  }
}

function hashInputs() {
  const hash = createHash("sha256").update(JSON.stringify(cargoTools));
  const add = (file) => hash.update(file).update(readFileSync(path.join(root, file)));
  for (const file of ["Cargo.toml", "Cargo.lock", ".cargo/config.toml", "wrangler.toml", "package-lock.json"]) add(file);
  for (const dir of ["src", "migrations"]) {
    const files = readdirSync(path.join(root, dir), { recursive: true }).map((name) => path.join(dir, name)).sort();
    for (const file of files) if (!file.startsWith("src/sdk/") && statSync(path.join(root, file)).isFile()) add(file);
  }
  return hash.digest("hex");
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const began = Date.now();
  if (process.argv.includes("--force")) rmSync(stamp, { force: true });
  judge(await build({ release: process.argv.includes("--release") }));
  console.log(`built in ${((Date.now() - began) / 1000).toFixed(1)} s`);
}
