// A certificate authority for TLS tests, made anew where it is missing: no key is kept in the repository.
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { cacheDir } from "../lib/paths.mjs";

const DAYS = "3650";

/** PEM file of our test authority. The key never leaves the cache directory of this machine. */
export function authority() {
  const dir = path.join(cacheDir, "test-ca");
  const files = { key: path.join(dir, "ca.key"), cert: path.join(dir, "ca.pem") };
  if (!existsSync(files.cert)) {
    mkdirSync(cacheDir, { recursive: true });
    // Made aside and renamed, so that two test runs beginning together agree on one.
    const aside = mkdtempSync(path.join(cacheDir, "test-ca-"));
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", DAYS,
      "-subj", "/CN=fivetran.do test authority", "-keyout", path.join(aside, "ca.key"), "-out", path.join(aside, "ca.pem"));
    try {
      renameSync(aside, dir);
    } catch (error) {
      rmSync(aside, { recursive: true, force: true });
      if (!existsSync(files.cert)) throw error;
    }
  }
  return files;
}

/** A server key and certificate for the names (`DNS:localhost`, `IP:127.0.0.1`) in `dir`. */
export function certificate(dir, names) {
  const ca = authority();
  const file = (name) => path.join(dir, name);
  openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=test server",
    "-keyout", file("server.key"), "-out", file("server.csr"));
  writeFileSync(file("server.ext"), `subjectAltName=${names.join(",")}\nextendedKeyUsage=serverAuth\n`);
  openssl("x509", "-req", "-in", file("server.csr"), "-CA", ca.cert, "-CAkey", ca.key, "-set_serial", String(Date.now()),
    "-days", DAYS, "-extfile", file("server.ext"), "-out", file("server.pem"));
  return { key: file("server.key"), cert: file("server.pem"), ca: ca.cert };
}

function openssl(...args) {
  execFileSync("openssl", args, { stdio: "pipe" });
}
