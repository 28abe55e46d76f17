// Installs what is missing and says what it does. Runs on the Node that is there, before any package is installed, so
// it imports nothing from node_modules. Everything goes into the cache directory or node_modules, except PostgreSQL.
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { cacheDir, root } from "./lib/paths.mjs";
import { capture, run, works } from "./lib/process.mjs";
import { cargoTools, clientPython, coverageTool, pythonClients, pythonPackages, pythonPath, toolDir } from "./lib/tools.mjs";

/** How tools are compiled: they run for seconds, so that optimising them takes longer than it ever saves. */
const QUICK_BUILD = { CARGO_PROFILE_RELEASE_OPT_LEVEL: "0", CARGO_PROFILE_RELEASE_LTO: "off", CARGO_PROFILE_RELEASE_CODEGEN_UNITS: "16" };

/** Installs what building and running need; with `tests`, also what the tests need. Quick when all is there. */
export async function setup({ tests = false } = {}) {
  await packages();
  await rust();
  // At once: each of them ends on one core, linking or unpacking, where another can use the second.
  const others = tests ? [postgres(), python()] : [];
  await Promise.all([...Object.entries(cargoTools).map(([name, tool]) => cargoTool(name, tool)), ...others]);
}

async function packages() {
  const lock = createHash("sha256").update(readFileSync(path.join(root, "package-lock.json"))).digest("hex");
  const mark = path.join(root, "node_modules", ".installed");
  if (existsSync(mark) && readFileSync(mark, "utf8") === lock) return;
  say("npm packages");
  // `loglevel`: wrangler asks for a newer Node than may be running this, which is why a Node is among the packages.
  await run("npm", ["ci", "--no-audit", "--no-fund", "--loglevel=error"]);
  writeFileSync(mark, lock);
}

async function rust() {
  if (!(await works("cargo", "--version"))) {
    throw new Error("Rust is not installed. Install it with rustup (see rustup.rs), then run this again");
  }
  const { output } = await capture("rustc", ["--print", "sysroot"]);
  if (existsSync(path.join(output.trim(), "lib", "rustlib", "wasm32-unknown-unknown"))) return;
  say("Rust's WebAssembly target");
  await run("rustup", ["target", "add", "wasm32-unknown-unknown"]);
}

/** Installs a Rust tool into its own versioned directory. */
export async function cargoTool(name, { version, binary, flags = [], optimised = [] }) {
  const dir = toolDir(name, version);
  if (existsSync(path.join(dir, "bin", binary))) return;
  const spec = [name, "--version", version, "--root", dir, "--locked"];
  if (await works("cargo", "binstall", "-V")) {
    say(`${name} ${version} (prebuilt, through cargo binstall)`);
    if (await works("cargo", "binstall", "--no-confirm", ...spec)) return;
  }
  say(`${name} ${version} (compiled once, a few minutes; kept in ${dir})`);
  // An own target directory: the default would be a temporary one, lost if this is interrupted.
  const target = path.join(cacheDir, "tools", "build", `${name}-${version}`);
  const hot = optimised.flatMap((name) => ["--config", `profile.release.package.${name}.opt-level=1`]);
  const env = { ...process.env, ...QUICK_BUILD, CARGO_TARGET_DIR: target };
  await run("cargo", ["install", "--quiet", ...spec, ...flags, ...hot], { env });
  rmSync(target, { recursive: true, force: true });
}

/** Installs the coverage tool and the part of the toolchain it reads profiles with; returns its directory. */
export async function setupCoverage() {
  await run("rustup", ["component", "add", "llvm-tools"]);
  const [[name, tool]] = Object.entries(coverageTool);
  await cargoTool(name, tool);
  return path.join(toolDir(name, tool.version), "bin");
}

async function postgres() {
  if (await hasPostgres()) return;
  const root = process.getuid?.() === 0;
  if (!(await works("apt-get", "--version")) || !(root || (await works("sudo", "-n", "true")))) {
    throw new Error("The tests need a PostgreSQL server. Install one (Debian: postgresql; macOS: brew install postgresql)");
  }
  say("PostgreSQL, for the tests (apt)");
  const apt = (...args) => {
    // The package must not start a server of its own.
    const env = ["DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "-o", "Dpkg::Use-Pty=0"];
    return run(root ? "env" : "sudo", root ? [...env, ...args] : ["env", ...env, ...args]);
  };
  await apt("update");
  await apt("install", "--no-install-recommends", "-y", "postgresql-common");
  const conf = "mkdir -p /etc/postgresql-common && echo create_main_cluster=false > /etc/postgresql-common/createcluster.conf";
  await run(root ? "sh" : "sudo", root ? ["-c", conf] : ["sh", "-c", conf]);
  await apt("install", "--no-install-recommends", "-y", "postgresql");
}

async function hasPostgres() {
  const { output } = await capture("sh", ["-c", "command -v initdb; ls -d /usr/lib/postgresql/*/bin/initdb 2>/dev/null; true"]);
  return output.trim() !== "";
}

const python = () => pythonEnvironment(pythonPath, pythonPackages);

/** Installs the clients that the tests drive. */
export async function setupClients() {
  for (const [name, packages] of Object.entries(pythonClients)) await pythonEnvironment(clientPython(name), packages);
}

/** Makes the environment of that interpreter with exactly these versions. */
async function pythonEnvironment(interpreter, packages) {
  const check = `import importlib.metadata as m; assert all(m.version(p.split("==")[0]) == p.split("==")[1] for p in ${JSON.stringify(packages)})`;
  if (await works(interpreter, "-c", check)) return;
  say(`${packages.join(", ")} for the tests, into a Python environment of their own`);
  const dir = path.dirname(path.dirname(interpreter));
  mkdirSync(path.dirname(dir), { recursive: true });
  await run("python3", ["-m", "venv", dir]);
  // Not compiled: of the thousands of modules of Airflow the tests import a few.
  await run(interpreter, ["-m", "pip", "install", "--quiet", "--no-compile", "--disable-pip-version-check", ...packages]);
}

function say(what) {
  console.log(`installing ${what}`);
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const began = Date.now();
  await setup({ tests: !process.argv.includes("--no-tests") });
  console.log(`ready: tools in ${cacheDir} (${((Date.now() - began) / 1000).toFixed(1)} s)`);
}
