// Child processes.
import { spawn } from "node:child_process";
import { root } from "./paths.mjs";

/** Runs a command in the repository with its output shown; rejects when it fails. */
export async function run(command, args, options = {}) {
  const { code } = await start(command, args, { stdio: "inherit", ...options });
  if (code !== 0) throw new Error(`${command} ${args.join(" ")} ended with ${code}`);
}

/** Runs a command and gives exit code and output, also when it fails; `echo` is a writer that gets the output as it comes. */
export function capture(command, args, options = {}) {
  return start(command, args, { stdio: ["ignore", "pipe", "pipe"], ...options });
}

/** True when a command exists and succeeds. */
export async function works(command, ...args) {
  try {
    return (await capture(command, args)).code === 0;
  } catch {
    return false;
  }
}

function start(command, args, { echo, ...options }) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: root, ...options });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding("utf8");
      stream?.on("data", (text) => {
        output += text;
        echo?.write(text);
      });
    }
    child.once("error", reject);
    child.once("close", (code, signal) => resolve({ code: code ?? signal, output }));
  });
}
