// `npm test`: everything, step by step, with a timed summary. `npm test -- native e2e` runs only those steps;
// `npm test -- e2e schedule` hands further words to the steps that take a filter.
import { globSync } from "node:fs";
import path from "node:path";
import { buildWithinBudget, judge } from "./build.mjs";
import { authority } from "./dev/certificates.mjs";
import { root } from "./lib/paths.mjs";
import { capture, run } from "./lib/process.mjs";
import { cargoEnv, nodeTool } from "./lib/tools.mjs";
import { setupClients } from "./setup.mjs";

const WASM = ["--release", "--target", "wasm32-unknown-unknown"];
// In Node the `cargo test` of the WASM target finds no `cloudflare:*` modules.
const CLOUDFLARE = `--require=${path.join(root, "scripts/dev/cloudflare-modules.cjs")}`;

/** A file of tests that takes longer hangs: the longest takes two minutes. */
const STUCK_MS = 15 * 60_000;

/** Each step gives the numbers of passed and failed tests; a step that is one check counts as one. */
const steps = {
  fmt: () => check("cargo", "fmt", "--check"),
  clippy: () => check("cargo", "clippy", "--all-targets", "--", "-D", "warnings"),
  "clippy-wasm": () => check("cargo", "clippy", "--lib", "--test", "wasm", ...WASM, "--", "-D", "warnings"),
  // Our own crate at opt-level 1, which by hand would make each change slow to compile: the model's 10,000 sequences
  // take half a minute then instead of one.
  native: (words) => cargoTest("cargo", ["test", "--no-fail-fast", ...words], { CARGO_PROFILE_DEV_OPT_LEVEL: "1" }),
  wasm: () => cargoTest("cargo", ["test", ...WASM, "--test", "wasm"], { NODE_OPTIONS: CLOUDFLARE }),
  build: async () => {
    judge(await buildWithinBudget());
    return { passed: 1, failed: 0 };
  },
  deploy: () => check(nodeTool("node"), "scripts/deploy.mjs", "--dry-run", "--quick"),
  types: () => check(nodeTool("tsc"), "-p", "tsconfig.json"),
  docs: (words) => nodeTest("tests/docs/*.test.mjs", words),
  sdk: (words) => nodeTest("tests/sdk/*.test.mjs", words),
  clients: async (words) => {
    await clientsInstalled;
    return nodeTest("tests/clients/*.test.mjs", words);
  },
  // Two files at a time: most of them wait half of the time, for leases, alarms and restarts.
  e2e: (words) => nodeTest("tests/e2e/*.test.mjs", words, 2),
};

const args = process.argv.slice(2).filter((word) => word !== "--");
const chosen = args.filter((word) => word in steps);
const words = args.filter((word) => !(word in steps));
const names = chosen.length ? Object.keys(steps).filter((name) => chosen.includes(name)) : Object.keys(steps);
const env = { ...cargoEnv(), NODE_EXTRA_CA_CERTS: authority().cert, FIVETRAN_TEST_CA: authority().cert };

// Downloading takes minutes and hardly any core: it goes on beside the first steps. What fails, the step reports.
const clientsInstalled = names.includes("clients") ? setupClients() : undefined;
clientsInstalled?.catch(() => {});

const results = [];
for (const name of names) {
  console.log(`\n== ${name}`);
  const began = Date.now();
  let result;
  try {
    result = await steps[name](words);
  } catch (error) {
    console.error(error.message);
    result = { passed: 0, failed: 1 };
  }
  results.push({ name, seconds: (Date.now() - began) / 1000, ...result });
}

console.log("");
for (const { name, seconds, passed, failed } of results) {
  const outcome = failed ? `${passed} passed, ${failed} FAILED` : `${passed} passed`;
  console.log(`${name.padEnd(12)} ${seconds.toFixed(1).padStart(7)} s  ${outcome}`);
}
const sum = (field) => results.reduce((total, result) => total + result[field], 0);
console.log(`${" ".repeat(12)} ${sum("seconds").toFixed(1).padStart(7)} s`);
console.log(`${sum("passed")} passed, ${sum("failed")} failed`);
process.exitCode = sum("failed") ? 1 : 0;

async function check(command, ...rest) {
  await run(command, rest, { env });
  return { passed: 1, failed: 0 };
}

async function cargoTest(command, rest, extra = {}) {
  const { code, output } = await capture(command, rest, { env: { ...env, ...extra }, echo: true });
  return verdict(code, count(output, /test result: \w+\. (\d+) passed; (\d+) failed/g));
}

async function nodeTest(pattern, filter, filesAtOnce = 1) {
  const wanted = (file) => filter.length === 0 || filter.some((word) => file.includes(word));
  const files = globSync(pattern, { cwd: root }).filter(wanted).sort();
  if (files.length === 0) throw new Error(`No test file matches ${pattern} ${filter.join(" ")}`);
  const rest = ["--test", `--test-concurrency=${filesAtOnce}`, `--test-timeout=${STUCK_MS}`, "--test-reporter=spec", ...files];
  const { code, output } = await capture(nodeTool("node"), rest, { env, echo: true });
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
