// I6: secrets never leave the vault. Every secret the service is given here is a random text of its own; after good and
// bad days of syncing, everything that the service said or stored is searched for them, in clear and in encodings that
// happen by accident.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readFileSync, readdirSync, statSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { gunzipSync } from "node:zlib";
import { BUCKET, DATABASE } from "./support/landed.mjs";
import { startWorld } from "./support/world.mjs";

/** Long, and of letters that no encoding needs to escape: the search must not miss it for a quoted character. */
const secret = (name) => `${name}${randomBytes(15).toString("hex")}`;

const secrets = {
  "source password": secret("srcpw"),
  "password in a URL": secret("urlpw"),
  "password after the change": secret("newpw"),
  "wrong password": secret("wrong"),
  "password of a misspelled field": secret("typo"),
  "password of a refused configuration": secret("refus"),
  "Cloudflare token": secret("cftok"),
  "API secret": secret("apise"),
  "vault key": randomBytes(32).toString("base64"),
};

/** Everything the service said. */
const heard = [];
const world = await startWorld({
  service: {
    inspectObjects: true,
    secrets: { FIVETRAN_API_SECRET: secrets["API secret"], FIVETRAN_VAULT_KEYS: `k1:${secrets["vault key"]}` },
    onLog: ({ level, message }) => heard.push(`log ${level}: ${message}`),
  },
});

/** A request whose answer is kept, headers included. */
async function ask(method, path, body) {
  const { status, headers, body: answer } = await world.service.api(method, path, body);
  heard.push(`${method} ${path}: ${status} ${JSON.stringify([...headers])} ${JSON.stringify(answer)}`);
  return answer.data;
}

const role = (name, password) => world.pg.query(`CREATE ROLE ${name} LOGIN PASSWORD '${password}'; GRANT pg_read_all_data TO ${name}`);

test("i6_no_secret_is_anywhere_after_good_days_and_bad_ones", async () => {
  const { pg } = world;
  await pg.query("CREATE TABLE t (id integer PRIMARY KEY, v text, l_visible text); INSERT INTO t SELECT i, 'value ' || i FROM generate_series(1, 100) i");
  await role("by_fields", secrets["source password"]);
  await role("by_url", secrets["password in a URL"]);
  const lake = await world.destination("r2", { bucket: BUCKET });
  const database = await world.destination("d1", { binding: DATABASE });
  const fields = (config) => world.source({ user: "by_fields", password: secrets["source password"], ...config });
  const create = (group, config, more = {}) =>
    ask("POST", "/v1/connections", { group_id: group, service: "postgres", schedule_type: "manual", ...more, config });

  // Good days.
  const good = await create(lake, fields({ schema_prefix: "good" }));
  const url = `postgres://by_url:${secrets["password in a URL"]}@${pg.host}:${pg.port}/${pg.database}`;
  const byUrl = await create(database, { schema_prefix: "by_url", url });
  for (const { id } of [good, byUrl]) await world.synced(id);

  // Bad days: refused and failing configurations, a destination whose token is no good, sources that go away.
  await create(lake, fields({ schema_prefix: "typo", pasword: secrets["password of a misspelled field"] }));
  await create(lake, fields({ schema_prefix: "x", port: "none", password: secrets["password of a refused configuration"] }));
  await create(lake, { schema_prefix: "x2", url: `postgres://u:${secrets["password of a refused configuration"]}@:nonsense` });
  await create(lake, { schema_prefix: "x3", url: { nested: secrets["password of a refused configuration"] } });
  await create(lake, fields({ schema_prefix: "wrong", password: secrets["wrong password"] }));
  const group = (await ask("POST", "/v1/groups", { name: "remote" })).id;
  await ask("POST", "/v1/destinations", {
    group_id: group, service: "d1", region: "X", time_zone_offset: "0",
    config: { database_id: "0a1b", account_id: "ff00", api_token: secrets["Cloudflare token"], api_base: "http://127.0.0.1:9" },
  });
  await create(group, fields({ schema_prefix: "to_remote" }));
  await ask("PATCH", `/v1/connections/${good.id}`, { config: { password: secrets["password after the change"] } });
  await world.sync(good.id);
  await pg.query(`ALTER ROLE by_fields PASSWORD '${secrets["password after the change"]}'; INSERT INTO t VALUES (101, 'x')`);
  await world.synced(good.id);
  await pg.query("ALTER TABLE t ADD COLUMN broken integer; CREATE VIEW bad AS SELECT 1 / (id - id) AS x FROM t");
  await world.sync(byUrl.id);
  const before = (await world.progress(byUrl.id)).id;
  await pg.crash();
  await world.ok("POST", `/v1/connections/${byUrl.id}/sync`, {});
  await world.endedSoon(byUrl.id, before).finally(() => pg.start());
  await world.service.api("GET", "/v1/account/info");

  // Everything that can be read back.
  for (const path of ["/", "/healthz", "/v1/openapi.json", "/v1/account/info", "/v1/groups", "/v1/users", "/v1/metadata/connector-types/postgres"]) await ask("GET", path);
  for (const { id } of (await ask("GET", "/v1/destinations")).items) {
    await ask("GET", `/v1/destinations/${id}`);
    await ask("POST", `/v1/destinations/${id}/test`, {});
    await ask("PATCH", `/v1/destinations/${id}`, { region: "Y" });
  }
  for (const { id } of (await ask("GET", "/v1/connections?limit=1000")).items) {
    await ask("POST", `/v1/connections/${id}/test`, {});
    for (const path of ["", "/state", "/schemas", "/logs?limit=1000", "/runs", "/progress", "/schema-versions"]) await ask("GET", `/v1/connections/${id}${path}`);
    for (const run of (await ask("GET", `/v1/connections/${id}/runs`))?.items ?? []) await ask("GET", `/v1/connections/${id}/runs/${run.id}`);
    await ask("PATCH", `/v1/connections/${id}`, { config: { password: "******" } });
  }
  assert.ok(heard.some((line) => line.includes("******")), "secrets are shown masked");
  assert.ok(heard.length > 60, "the search has something to search in");

  await world.service.restart();
  const found = [];
  // What is no secret and must be found, or the search is blind: in D1 and answers, in Parquet files, in objects.
  const seen = { by_fields: 0, l_visible: 0, incremental: 0 };
  const needles = Object.entries(encodings());
  const look = (where, bytes) => {
    for (const name of Object.keys(seen)) if (bytes.includes(name)) seen[name] += 1;
    for (const [name, forms] of needles) {
      for (const form of forms) if (bytes.includes(form)) found.push(`${name} as ${form} in ${where}`);
    }
  };
  heard.forEach((line) => look(line.slice(0, 300), Buffer.from(line)));
  const files = filesIn(world.service.state);
  assert.ok(files.filter((file) => file.endsWith(".sqlite")).length >= 5, "D1 and Durable Objects were searched");
  for (const file of files) {
    const bytes = readFileSync(file);
    look(file, bytes);
    if (bytes[0] === 0x1f && bytes[1] === 0x8b) look(file, gunzipSync(bytes));
  }
  assert.deepEqual(found, []);
  assert.ok(Object.values(seen).every((times) => times > 0), JSON.stringify(seen));
});

/** Each secret in clear, and in base64 and hexadecimal at any position of a longer text. */
function encodings() {
  return Object.fromEntries(Object.entries(secrets).map(([name, text]) => {
    const forms = [text, Buffer.from(text).toString("hex"), Buffer.from(text).toString("utf16le")];
    for (let shift = 0; shift < 3; shift += 1) {
      const shifted = Buffer.from("\0".repeat(shift) + text).toString("base64");
      // The ends depend on the neighbours; the middle does not.
      forms.push(shifted.slice(shift === 0 ? 0 : 4, -4));
    }
    return [name, forms];
  }));
}

const filesIn = (dir) =>
  readdirSync(dir, { recursive: true }).map((name) => path.join(dir, name)).filter((file) => statSync(file).isFile() && path.basename(file) !== ".dev.vars");
