// `npm test`: everything, in steps, two at a time, with a timed summary. `npm test -- native e2e` runs only those steps;
// `npm test -- e2e schedule` hands further words to the steps that take a filter.
import { globSync } from "node:fs";
import path from "node:path";
import { buildWithinBudget, judge } from "./build.mjs";
import { authority } from "./dev/certificates.mjs";
import { root } from "./lib/paths.mjs";
import { capture } from "./lib/process.mjs";
import { labelled, runSteps } from "./lib/steps.mjs";
import { cargoEnv, nodeTool } from "./lib/tools.mjs";
import { setupClients } from "./setup.mjs";

const WASM = ["--release", "--target", "wasm32-unknown-unknown"];
// In Node the `cargo test` of the WASM target finds no `cloudflare:*` modules.
const CLOUDFLARE = `--require=${path.join(root, "scripts/dev/cloudflare-modules.cjs")}`;

/** A file of tests that takes longer hangs: the longest takes two minutes. */
const STUCK_MS = 15 * 60_000;

const STEPS_AT_ONCE = 2;

/**
 * How the native tests are compiled. By clippy's driver, which lints what it compiles: `cargo clippy` would check the crate,
 * its tests and all dependencies beside it, for minutes. At opt-level 1, which by hand would make each change slow to
 * compile: the model's 10,000 sequences take half a minute then instead of two. Without lines of debugging, as a panic names
 * its own, and never incrementally, which costs a compilation from nothing more than it gives the next one.
 */
const NATIVE = {
  RUSTC_WORKSPACE_WRAPPER: "clippy-driver",
  CARGO_PROFILE_DEV_OPT_LEVEL: "1",
  CARGO_PROFILE_DEV_DEBUG: "0",
  CARGO_INCREMENTAL: "0",
};

/**
 * Each step gives the numbers of passed and failed tests; one that is a single check counts as one. The long chains come
 * first, those of the native tests and of the Worker, and what tests the Worker in workerd comes when cores are free.
 */
const steps = {
  fmt: { run: (out) => check(out, "cargo", "fmt", "--check") },
  clippy: { after: ["fmt"], run: (out) => lint(out, ["test", "--no-run"], NATIVE) },
  "clippy-wasm": { after: ["fmt"], run: (out) => lint(out, ["clippy", "--lib", "--test", "wasm", ...WASM]) },
  wasm: { after: ["clippy-wasm"], run: (out) => cargoTest(out, [...WASM, "--test", "wasm"], { NODE_OPTIONS: CLOUDFLARE }) },
  build: { after: ["wasm"], run: () => built() },
  native: { after: ["clippy"], run: (out, words) => cargoTest(out, ["--no-fail-fast", ...words], NATIVE) },
  types: { run: (out) => check(out, nodeTool("tsc"), "-p", "tsconfig.json") },
  deploy: { after: ["build"], run: (out) => check(out, nodeTool("node"), "scripts/deploy.mjs", "--dry-run", "--quick") },
  docs: { run: (out, words) => nodeTest(out, "tests/docs/*.test.mjs", words) },
  sdk: { after: ["build", "types"], run: (out, words) => nodeTest(out, "tests/sdk/*.test.mjs", words) },
  clients: { after: ["build"], run: (out, words) => clientTests(out, words) },
  // Two files at a time: most of them wait half of the time, for leases, alarms and restarts.
  e2e: { after: ["build"], run: (out, words) => nodeTest(out, "tests/e2e/*.test.mjs", words, 2) },
};

const args = process.argv.slice(2).filter((word) => word !== "--");
const chosen = args.filter((word) => word in steps);
const words = args.filter((word) => !(word in steps));
const names = chosen.length ? Object.keys(steps).filter((name) => chosen.includes(name)) : Object.keys(steps);
const env = { ...cargoEnv(), NODE_EXTRA_CA_CERTS: authority().cert, FIVETRAN_TEST_CA: authority().cert };

// Downloading takes minutes and hardly any core: it goes on beside the first steps. What fails, the step reports.
const clientsInstalled = names.includes("clients") ? setupClients() : undefined;
clientsInstalled?.catch(() => {});

const began = Date.now();
const results = await runSteps(Object.fromEntries(names.map((name) => [name, timed(name, steps[name])])), STEPS_AT_ONCE);
console.log("");
for (const { name, seconds, passed, failed } of results) console.log(summary(name, seconds, passed, failed));
const sum = (field) => results.reduce((total, result) => total + result[field], 0);
console.log(`${" ".repeat(12)} ${((Date.now() - began) / 1000).toFixed(1).padStart(7)} s`);
console.log(`${sum("passed")} passed, ${sum("failed")} failed`);
process.exitCode = sum("failed") ? 1 : 0;

/** The step with its time, its output labelled unless it is the only one, and a failure where it throws. */
function timed(name, { after = [], run }) {
  const out = names.length > 1 ? labelled(name, process.stdout) : process.stdout;
  const measured = async () => {
    const began = Date.now();
    const seconds = () => (Date.now() - began) / 1000;
    try {
      const { passed, failed } = await run(out, words);
      console.log(summary(name, seconds(), passed, failed));
      return { seconds: seconds(), passed, failed };
    } catch (error) {
      console.error(`${name}: ${error.message}`);
      return { seconds: seconds(), passed: 0, failed: 1 };
    }
  };
  return { after: after.filter((other) => names.includes(other)), run: measured };
}

function summary(name, seconds, passed, failed) {
  const outcome = failed ? `${passed} passed, ${failed} FAILED` : `${passed} passed`;
  return `${name.padEnd(12)} ${seconds.toFixed(1).padStart(7)} s  ${outcome}`;
}

async function built() {
  judge(await buildWithinBudget());
  return { passed: 1, failed: 0 };
}

async function check(out, command, ...rest) {
  const { code } = await capture(command, rest, { env, echo: out });
  return verdict(code, { passed: code === 0 ? 1 : 0, failed: 0 });
}

/** A check that fails where the compiler warns, too. Cargo repeats the warnings of what is compiled already. */
async function lint(out, rest, extra = {}) {
  const { code, output } = await capture("cargo", rest, { env: { ...env, ...extra }, echo: out });
  const clean = code === 0 && !/^warning: /m.test(output);
  return { passed: clean ? 1 : 0, failed: clean ? 0 : 1 };
}

async function cargoTest(out, rest, extra = {}) {
  const { code, output } = await capture("cargo", ["test", ...rest], { env: { ...env, ...extra }, echo: out });
  return verdict(code, count(output, /test result: \w+\. (\d+) passed; (\d+) failed/g));
}

async function clientTests(out, words) {
  await clientsInstalled;
  return nodeTest(out, "tests/clients/*.test.mjs", words);
}

async function nodeTest(out, pattern, filter, filesAtOnce = 1) {
  const wanted = (file) => filter.length === 0 || filter.some((word) => file.includes(word));
  const files = globSync(pattern, { cwd: root }).filter(wanted).sort();
  if (files.length === 0) throw new Error(`No test file matches ${pattern} ${filter.join(" ")}`);
  const rest = ["--test", `--test-concurrency=${filesAtOnce}`, `--test-timeout=${STUCK_MS}`, "--test-reporter=spec", ...files];
  const { code, output } = await capture(nodeTool("node"), rest, { env, echo: out });
  const number = (field) => Number(new RegExp(`^\\W*${field} (\\d+)`, "m").exec(output)?.[1] ?? 0);
  return verdict(code, { passed: number("pass"), failed: number("fail") + number("cancelled") });
}

function count(output, pattern) {
  const totals = { passed: 0, failed: 0 };
  for (const [, passed, failed] of output.matchAll(pattern)) {
    totals.passed += Number(passed);
    totals.failed += Number(failed);
  }
  return totals;
}

/** A command that failed without a failed test (it did not compile, it crashed) counts as one failure. */
function verdict(code, { passed, failed }) {
  return { passed, failed: code !== 0 && failed === 0 ? 1 : failed };
}
