// Runs a client's script in the client's own Python environment, and takes its turns in the story.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { clientPython } from "../../scripts/lib/tools.mjs";

const folder = fileURLToPath(new URL(".", import.meta.url));

/**
 * @param {string} name Of the environment, and of `with_{name}.py`.
 * @param {Record<string, string>} env What story.py reads.
 * @param {Record<string, (data: any) => Promise<void>>} turns What the test does at each step; all must be reached.
 */
export async function drive(name, env, turns) {
  const child = spawn(clientPython(name), [`${folder}with_${name}.py`], {
    env: { PATH: process.env.PATH, HOME: env.HOME, PYTHONDONTWRITEBYTECODE: "1", ...env },
    stdio: ["pipe", "pipe", "pipe"],
  });
  const ended = new Promise((resolve) => child.once("close", resolve));
  let output = "";
  child.stderr.setEncoding("utf8").on("data", (text) => (output += text));
  const reached = [];
  try {
    for await (const line of createInterface({ input: child.stdout })) {
      if (!line.startsWith("STEP ")) {
        output += `${line}\n`;
        continue;
      }
      const { name: step, ...data } = JSON.parse(line.slice("STEP ".length));
      reached.push(step);
      await turns[step](data);
      child.stdin.write("go\n");
    }
  } finally {
    child.stdin.end();
    // A turn that failed leaves the script waiting; it ends when its input does.
    if ((await ended) !== 0) console.error(output.slice(-6000));
  }
  assert.equal(child.exitCode, 0, `with_${name}.py`);
  assert.deepEqual(reached, Object.keys(turns), output.slice(-3000));
}
