#!/usr/bin/env node
// `npx fivetran`: Node for the command line of src/sdk/cli.
import { access, chmod, mkdir, readFile, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline/promises";
import { Writable } from "node:stream";
import { pathToFileURL } from "node:url";
import { CommandError } from "../dist/sdk/cli/host.js";
import { main } from "../dist/sdk/cli/main.js";

const host = {
  env: process.env,
  cwd: process.cwd(),
  home: homedir(),
  isTerminal: process.stdin.isTTY === true && process.stdout.isTTY === true,
  out: (line) => process.stdout.write(`${line}\n`),
  err: (line) => process.stderr.write(`${line}\n`),
  ask,
  exists: (file) => access(file).then(() => true, () => false),
  read: (file) => readFile(file, "utf8").catch((error) => (error.code === "ENOENT" ? undefined : Promise.reject(error))),
  async write(file, text, { secret = false } = {}) {
    const mode = secret ? 0o600 : 0o644;
    await mkdir(path.dirname(file), { recursive: true, mode: secret ? 0o700 : 0o755 });
    await writeFile(file, text, { mode });
    // The mode counts only for a file that was not there before.
    await chmod(file, mode);
  },
  async load(file) {
    if (file.endsWith(".ts") && !process.features.typescript) {
      throw new CommandError(`Node ${process.version} does not run TypeScript. Use Node 22.18 or later, or fivetran.config.mjs.`);
    }
    return (await import(pathToFileURL(file).href)).default;
  },
};

async function ask(question, { hidden = false } = {}) {
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() });
  const terminal = createInterface({ input: process.stdin, output: hidden ? silent : process.stdout, terminal: true });
  try {
    if (hidden) process.stdout.write(question);
    return await terminal.question(hidden ? "" : question);
  } finally {
    terminal.close();
    if (hidden) process.stdout.write("\n");
  }
}

process.exitCode = await main(host, process.argv.slice(2));
