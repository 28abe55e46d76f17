// TLS to the source. The Worker's runtime verifies every certificate; the test authority is trusted through
// NODE_EXTRA_CA_CERTS, as a company would trust its own on a laptop. What it would refuse is a matter of approvals.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";
import { authority } from "../../scripts/dev/certificates.mjs";
import { BUCKET, assertLanded } from "./support/landed.mjs";
import { startWorld } from "./support/world.mjs";

const world = await startWorld({ postgres: { ssl: true } });
let group;

before(async () => {
  await world.pg.query("CREATE TABLE t AS SELECT i AS id, md5(i::text) AS v FROM generate_series(1, 2000) i; ALTER TABLE t ADD PRIMARY KEY (id)");
  group = await world.destination("r2", { bucket: BUCKET });
});

const connect = (name, config) => world.connection(group, { config: { schema_prefix: name, ...config } });
const tests = ({ setup_tests: all }) => Object.fromEntries(all.map(({ title, ...rest }) => [title, rest]));
const TLS = "Securing the connection with TLS";

/** Whether the server saw its clients encrypted, asked from the rows it kept of them. */
async function encryptedSessions(action) {
  await world.pg.query("CREATE TABLE IF NOT EXISTS seen (ssl boolean)");
  let watching = true;
  const seen = new Set();
  const watcher = (async () => {
    while (watching) {
      const { rows } = await world.pg.query(
        "SELECT s.ssl FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid) WHERE a.application_name = 'fivetran.do'");
      for (const { ssl } of rows) seen.add(ssl);
    }
  })();
  await action();
  watching = false;
  await watcher;
  return [...seen];
}

for (const sslmode of ["require", "verify-full", "prefer"]) {
  test(`sslmode ${sslmode} moves rows encrypted`, async () => {
    const name = sslmode.replace("-", "_");
    const made = await connect(name, { sslmode, host: "localhost", tables: ["public.t"] });
    assert.equal(tests(made)[TLS].status, "PASSED", JSON.stringify(made.setup_tests));
    assert.deepEqual(await encryptedSessions(() => world.synced(made.id)), [true]);
    await assertLanded(world, "r2", made.id, ["t"]);
  });
}

test("a certificate that the runtime trusts can be approved, and only the one that the server shows", async () => {
  const made = await connect("approved", { sslmode: "require", host: "localhost", tables: ["public.t"] });
  const pem = readFileSync((await world.pg.query("SHOW ssl_cert_file")).rows[0].ssl_cert_file, "utf8");
  const { raw, fingerprint256 } = new X509Certificate(pem);
  const url = `/v1/connections/${made.id}/certificates`;
  const body = { hash: fingerprint256, encoded_cert: raw.toString("base64") };
  const approved = await world.ok("POST", url, body);
  assert.equal(approved.sha256, fingerprint256.replaceAll(":", "").toLowerCase());
  assert.deepEqual((await world.ok("GET", url)).items, [approved]);
  await world.ok("DELETE", `${url}/${encodeURIComponent(fingerprint256)}`);
  await world.synced(made.id);
});

test("sslmode disable moves them in clear, and the setup test says so", async () => {
  const made = await connect("disable", { sslmode: "disable", tables: ["public.t"] });
  assert.equal(tests(made)[TLS].status, "WARNING");
  assert.deepEqual(await encryptedSessions(() => world.synced(made.id)), [false]);
});

test("a server that demands TLS tells those who come without what to set", async () => {
  const { rows } = await world.pg.query("SHOW hba_file");
  await world.pg.query(`COPY (SELECT 'hostssl all all all scram-sha-256' UNION ALL SELECT 'host all postgres all scram-sha-256') TO '${rows[0].hba_file}';
    CREATE ROLE strict LOGIN PASSWORD 'strict'; GRANT pg_read_all_data TO strict; SELECT pg_reload_conf()`);
  const made = await connect("demanded", { sslmode: "disable", user: "strict", password: "strict" });
  const failed = made.setup_tests.find(({ status }) => status === "FAILED");
  assert.match(failed.message, /sslmode to require/);
  const better = await connect("obeyed", { sslmode: "require", user: "strict", password: "strict", tables: ["public.t"] });
  await world.synced(better.id);
});

/** Has the server show a new self-signed certificate; returns it. */
async function showsSelfSigned() {
  const dir = mkdtempSync(path.join(tmpdir(), "fivetran-untrusted-"));
  after(() => rmSync(dir, { recursive: true, force: true }));
  const served = {};
  for (const name of ["ssl_cert_file", "ssl_key_file"]) served[name] = (await world.pg.query(`SHOW ${name}`)).rows[0][name];
  const [cert, key] = [path.join(dir, "server.pem"), path.join(dir, "server.key")];
  execFileSync("openssl", ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
    "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", cert], { stdio: "pipe" });
  // The server reads its files again on reload; they are replaced under their own names, so that owner and mode stay.
  execFileSync("sh", ["-c", `cat "${cert}" > "${served.ssl_cert_file}" && cat "${key}" > "${served.ssl_key_file}"`]);
  await world.pg.query("SELECT pg_reload_conf()");
  return new X509Certificate(readFileSync(cert));
}

test("a certificate that nobody vouches for is refused until a person approves it, and again when the approval is revoked", async () => {
  const shown = await showsSelfSigned();
  const made = await connect("untrusted", { sslmode: "verify-full", host: "localhost", tables: ["public.t"] });
  assert.equal(made.status.setup_state, "incomplete");
  const { status, message, details } = tests(made)[TLS];
  assert.equal(status, "FAILED", JSON.stringify(made.setup_tests));
  for (const part of [/config\.sslmode/, /CN=localhost/, /trust_certificates/]) assert.match(message, part);
  assert.equal(details.certificate.hash, shown.fingerprint256.replaceAll(":", "").toLowerCase());
  assert.equal(details.certificate.encoded_cert, shown.raw.toString("base64"));

  const url = `/v1/connections/${made.id}/certificates`;
  const other = new X509Certificate(readFileSync(authority().cert));
  const answer = await world.service.api("POST", url, { hash: other.fingerprint256, encoded_cert: other.raw.toString("base64") });
  assert.deepEqual([answer.status, answer.body.code], [400, "InvalidInput"], JSON.stringify(answer.body));
  await world.ok("POST", url, { hash: shown.fingerprint256, encoded_cert: shown.raw.toString("base64") });
  const tested = await world.ok("POST", `/v1/connections/${made.id}/test`, {});
  assert.equal(tested.status.setup_state, "connected", JSON.stringify(tested.setup_tests));
  assert.deepEqual(await encryptedSessions(() => world.synced(made.id)), [true]);
  await assertLanded(world, "r2", made.id, ["t"]);

  await world.ok("DELETE", `${url}/${encodeURIComponent(shown.fingerprint256)}`);
  const revoked = await world.ok("POST", `/v1/connections/${made.id}/test`, {});
  assert.equal(tests(revoked)[TLS].status, "FAILED");
});

test("trust_certificates approves what the server shows, and a server that changes it later is refused", async () => {
  const shown = await showsSelfSigned();
  const config = { schema_prefix: "on_sight", sslmode: "require", host: "localhost", tables: ["public.t"] };
  const made = await world.connection(group, { config, trust_certificates: true });
  assert.equal(made.status.setup_state, "connected", JSON.stringify(made.setup_tests));
  const { items } = await world.ok("GET", `/v1/connections/${made.id}/certificates`);
  assert.deepEqual(items.map(({ hash }) => hash), [shown.fingerprint256.replaceAll(":", "").toLowerCase()]);
  await world.synced(made.id);
  await assertLanded(world, "r2", made.id, ["t"]);
  await showsSelfSigned();
  const tested = await world.ok("POST", `/v1/connections/${made.id}/test`, {});
  assert.equal(tested.status.setup_state, "broken");
  assert.equal(tests(tested)[TLS].status, "FAILED");
});
