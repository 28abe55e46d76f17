// A lock between processes: a directory, which the file system makes only once.
import { mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";

const WRITING_MS = 5000;

/** Runs `action` while no other process of this machine holds the lock. A dead holder's lock is taken over. */
export async function withLock(dir, action) {
  mkdirSync(path.dirname(dir), { recursive: true });
  const holder = path.join(dir, "pid");
  for (let told = false; !take(dir, holder); told = true) {
    if (!told) console.log("waiting for another build to finish");
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
  try {
    return await action();
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

function take(dir, holder) {
  try {
    mkdirSync(dir);
    writeFileSync(holder, String(process.pid));
    return true;
  } catch (error) {
    if (error.code !== "EEXIST") throw error;
  }
  if (!alive(dir, holder)) rmSync(dir, { recursive: true, force: true });
  return false;
}

function alive(dir, holder) {
  try {
    process.kill(Number(readFileSync(holder, "utf8")), 0);
    return true;
  } catch (error) {
    // It lives under another account; or it has the directory and is just about to write the file.
    return error.code === "EPERM" || (error.code === "ENOENT" && ageMs(dir) < WRITING_MS);
  }
}

function ageMs(dir) {
  try {
    return Date.now() - statSync(dir).mtimeMs;
  } catch {
    return 0;
  }
}
