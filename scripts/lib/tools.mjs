// The versions of what builds the Worker, and the environment in which cargo runs.
import path from "node:path";
import { cacheDir, root } from "./paths.mjs";

/**
 * Tools that cargo installs: the binary that tells that one is there, flags that leave out what nobody here runs, and the packages
 * that are worth optimising. wasm-bindgen's version must equal the one in Cargo.lock.
 */
export const cargoTools = {
  "worker-build": { version: "0.8.7", binary: "worker-build", flags: ["--bin", "worker-build"] },
  "wasm-bindgen-cli": {
    version: "0.2.129",
    binary: "wasm-bindgen",
    // TLS is for browsers that run tests somewhere else.
    flags: ["--no-default-features", "--bin", "wasm-bindgen", "--bin", "wasm-bindgen-test-runner"],
    // They walk twelve megabytes of WASM at each build.
    optimised: ["walrus", "wasmparser", "wasm-bindgen-cli-support"],
  },
};

/** The coverage tool, installed only by `npm run test:coverage`. */
export const coverageTool = { "cargo-llvm-cov": { version: "0.6.21", binary: "cargo-llvm-cov" } };

/** Directory of an installed tool. Keyed by version, so that an upgrade never meets an old binary. */
export const toolDir = (name, version) => path.join(cacheDir, "tools", `${name}-${version}`);

/** Full path of an installed tool's binary, or of a sibling of it. */
export const toolPath = (name, binary = cargoTools[name].binary) =>
  path.join(toolDir(name, cargoTools[name].version), "bin", binary);

/** A program of node_modules. */
export const nodeTool = (name) => path.join(root, "node_modules", ".bin", name);

/** Packages of the independent readers of our Parquet, pinned. */
export const pythonPackages = ["duckdb==2.0.0", "pyarrow==26.0.1", "pytz==2026.6"];

/** Interpreter of the environment that holds them. */
export const pythonPath = path.join(cacheDir, "py", "bin", "python");

/**
 * What drives the API in tests, pinned: clients made for Fivetran, and the fuzzer of its OpenAPI document. Each in an environment of its own, because what they depend on
 * does not fit together. Installed by the test step `clients`, not by everyone's set-up: it takes two minutes.
 */
export const pythonClients = {
  dagster: ["dagster-fivetran==0.29.27", "dagster==1.13.27"],
  airflow: ["airflow-provider-fivetran-async==2.4.0", "apache-airflow==3.3.2"],
  mcp: ["fivetran-mcp==0.3.1", "fastmcp==4.1.2"],
  prefect: ["prefect-fivetran==0.1.0b0", "prefect==3.8.8"],
  pyfivetran: ["pyfivetran==2024.4.26.1"],
  shipyard: ["shipyard-fivetran==0.2.1"],
  schemathesis: ["schemathesis==4.32.5"],
};

/** Interpreter of a client's environment. */
export const clientPython = (name) => path.join(cacheDir, "clients", name, "bin", "python");

/** Cargo's environment. The target directory is outside the tree, so that a clean clone builds only what is new. */
export function cargoEnv() {
  return {
    ...process.env,
    CARGO_TARGET_DIR: process.env.CARGO_TARGET_DIR || path.join(cacheDir, "target"),
    // What worker-build sets for its own build; set everywhere, or the same crate would be expanded in two ways.
    WASM_BINDGEN_USE_JS_SYS: "1",
    WASM_BINDGEN_BIN: toolPath("wasm-bindgen-cli"),
    ESBUILD_BIN: nodeTool("esbuild"),
    CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER: toolPath("wasm-bindgen-cli", "wasm-bindgen-test-runner"),
    FIVETRAN_TEST_PYTHON: process.env.FIVETRAN_TEST_PYTHON || pythonPath,
  };
}
