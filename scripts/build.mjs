// Builds the Worker into build/. `--release` also runs wasm-opt, which takes minutes, for deployment; without it the
// module is compiled the same way (opt-level 3), only larger.
import { createHash } from "node:crypto";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { gzipSync } from "node:zlib";
import { cacheDir, root } from "./lib/paths.mjs";
import { withLock } from "./lib/lock.mjs";
import { capture, run } from "./lib/process.mjs";
import { cargoEnv, cargoTools, nodeTool, toolPath } from "./lib/tools.mjs";

/** Our own budget for the compressed module: the free plan's old limit, and what keeps the start-up short. */
const GZIP_LIMIT = 3 * 1024 * 1024;

/** Cloudflare's limit for the start-up of a Worker, in milliseconds. */
const STARTUP_LIMIT_MS = 1000;

// worker-build's own flags, and SIMD, which .cargo/config.toml turns on. Without its `--debuginfo`: function names are
// an eighth of the compressed module, and our panics are ruled out by lint rather than read from stack traces.
const WASM_OPT = [
  "-O",
  ...["mutable-globals", "sign-ext", "nontrapping-float-to-int", "bulk-memory", "multivalue", "reference-types",
    "exception-handling", "simd"].map((feature) => `--enable-${feature}`),
];

const output = path.join(root, "build");
const module = path.join(output, "index_bg.wasm");
const stamp = path.join(output, ".built.json");

/** Builds unless nothing changed; returns sizes in bytes (compressed: as deployed, without names) and start-up in ms. */
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
  const gzip = gzipSync(withoutNames(wasm), { level: 9 }).length;
  const result = { inputs, release, bytes: wasm.length, gzip, startupMs: await startup() };
  writeFileSync(stamp, JSON.stringify(result));
  return result;
}

/** Prints the numbers and throws when one is over its limit. */
export function judge({ bytes, gzip, startupMs, release }) {
  const mib = (n) => `${(n / 1024 / 1024).toFixed(2)} MiB`;
  const kind = release ? "optimised" : "not optimised";
  console.log(`wasm ${bytes} bytes (${mib(bytes)}, ${kind}), gzip without names ${gzip} bytes (${mib(gzip)} of ${mib(GZIP_LIMIT)}), start-up ${startupMs} ms`);
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

/** The module without its section of function names, which only the deployed one goes without. */
function withoutNames(wasm) {
  const kept = [wasm.subarray(0, 8)];
  let at = 8;
  const number = () => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = wasm[at++];
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
  };
  while (at < wasm.length) {
    const start = at;
    const custom = wasm[at++] === 0;
    const end = number() + at;
    const name = custom ? wasm.toString("utf8", at + 1, at + 5) : "";
    if (name !== "name") kept.push(wasm.subarray(start, end));
    at = end;
  }
  return Buffer.concat(kept);
}

const wasmOptVersion = () => JSON.parse(readFileSync(path.join(root, "node_modules/binaryen/package.json"), "utf8")).version;

/** Time the global scope runs before the Worker can take a request, as wrangler profiles it in workerd. */
async function startup() {
  const dir = mkdtempSync(path.join(tmpdir(), "fivetran-startup-"));
  const file = path.join(dir, "startup.cpuprofile");
  try {
    const args = ["check", "startup", "--args=-c wrangler.toml", "--outfile", file];
    const { code, output } = await capture(nodeTool("node"), [nodeTool("wrangler"), ...args]);
    if (code !== 0) throw new Error(`wrangler check startup failed:\n${output}`);
    const { nodes, samples, timeDeltas } = JSON.parse(readFileSync(file, "utf8"));
    const idle = new Set(nodes.filter((node) => node.callFrame.functionName === "(idle)").map((node) => node.id));
    const micros = samples.reduce((sum, node, index) => sum + (idle.has(node) ? 0 : timeDeltas[index]), 0);
    return Math.round(micros / 1000);
  } finally {
    rmSync(dir, { recursive: true });
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
