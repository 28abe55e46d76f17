// What bad input gets: the status and code that Fivetran's clients know, a message that names the field and the remedy,
// and nothing half-created.
import assert from "node:assert/strict";
import { before, test } from "node:test";
import { BUCKET, DATABASE, keysIn } from "./support/landed.mjs";
import { startWorld, tableOf } from "./support/world.mjs";

const world = await startWorld();
let group;
let connections = 0;

before(async () => {
  await world.pg.query(`CREATE TABLE t (id integer PRIMARY KEY); INSERT INTO t VALUES (1);
    CREATE ROLE outsider LOGIN PASSWORD 'outsider'; REVOKE ALL ON SCHEMA public FROM PUBLIC`);
  group = await world.destination("d1", { binding: DATABASE });
});

const count = async (what) => (await world.ok("GET", `/v1/${what}`)).items.length;

/** The request is refused so, and nothing new is there afterwards. */
async function refused(method, path, body, { status, code, says }) {
  const had = await Promise.all([count("groups"), count("destinations"), count("connections")]);
  const answer = await world.service.api(method, path, body);
  assert.equal(answer.status, status, JSON.stringify(answer.body));
  assert.equal(answer.body.code, code);
  for (const part of says) assert.match(answer.body.message, part);
  assert.deepEqual(Object.keys(answer.body).sort(), ["code", "message"]);
  assert.deepEqual(await Promise.all([count("groups"), count("destinations"), count("connections")]), had);
}

const newConnection = (more = {}, config = {}) => ({
  group_id: group,
  service: "postgres",
  ...more,
  config: world.source({ schema_prefix: `bad${(connections += 1)}`, ...config }),
});

/** A connection that cannot work: it is kept for its owner to mend, `incomplete`, and tells why. */
async function incomplete(config, { title, says }) {
  const made = await world.ok("POST", "/v1/connections", newConnection({}, config));
  assert.equal(made.status.setup_state, "incomplete");
  const failed = made.setup_tests.filter(({ status }) => status === "FAILED");
  assert.equal(failed.length, 1, JSON.stringify(made.setup_tests));
  assert.match(failed[0].title, title);
  for (const part of says) assert.match(failed[0].message, part);
  const { sync_state: state } = made.status;
  await world.service.cron();
  assert.deepEqual((await world.ok("GET", `/v1/connections/${made.id}/runs`)).items, [], `the clock leaves it alone (${state})`);
  await world.ok("DELETE", `/v1/connections/${made.id}`);
}

test("a wrong password is told by the setup test that logs in", () =>
  incomplete({ password: "not the password" }, { title: /logging in/i, says: [/config\.password|config\.user/, /password/i, /correct/i] }));

test("an unknown user likewise", () => incomplete({ user: "nobody" }, { title: /logging in/i, says: [/config\.(password|user)/] }));

test("a database that is not there is named", () =>
  incomplete({ database: "no_such" }, { title: /logging in/i, says: [/config\.database/, /no_such/, /correct the name/i] }));

test("an unknown host is named", () =>
  incomplete({ host: "no-such-host.invalid" }, { title: /connecting to host/i, says: [/config\.host/, /no-such-host\.invalid/, /check/i] }));

test("a port where nothing listens is named", () =>
  incomplete({ port: 1 }, { title: /connecting to host/i, says: [/config\.(host|port)/, /check/i] }));

test("TLS that the server does not offer is told as such", () =>
  incomplete({ sslmode: "require" }, { title: /TLS/, says: [/config\.sslmode/, /does not offer TLS/, /sslmode to disable/] }));

test("a user without permission is told what to grant", () =>
  incomplete({ user: "outsider", password: "outsider" }, { title: /permission/i, says: [/GRANT USAGE/, /SELECT/] }));

test("permission lost later breaks the connection with a task", async () => {
  await world.pg.query("GRANT USAGE ON SCHEMA public TO outsider; GRANT SELECT ON t TO outsider");
  const { id } = await world.connection(group, { config: { schema_prefix: "lost", user: "outsider", password: "outsider" } });
  await world.synced(id);
  await world.pg.query("ALTER ROLE outsider PASSWORD 'changed'");
  const run = await world.sync(id);
  assert.equal(run.state, "FAILURE_WITH_TASK");
  assert.equal(run.error.kind, "source_auth");
  const { status } = await world.ok("GET", `/v1/connections/${id}`);
  assert.equal(status.setup_state, "broken");
  assert.equal(status.tasks[0].code, "reconnect");
  assert.match(status.tasks[0].message, /config\.password/);
  // The owner mends it with the new password.
  await world.ok("PATCH", `/v1/connections/${id}`, { config: { password: "changed" } });
  await world.synced(id);
  assert.deepEqual((await world.ok("GET", `/v1/connections/${id}`)).status.tasks, []);
});

test("malformed JSON, and JSON that is no object", async () => {
  const send = async (body) => {
    const response = await fetch(`${world.service.url}/v1/groups`, {
      method: "POST",
      body,
      headers: {
        authorization: `Basic ${btoa(`${world.service.apiKey}:${world.service.apiSecret}`)}`,
        "content-type": "application/json",
      },
    });
    return { status: response.status, ...(await response.json()) };
  };
  const groups = await count("groups");
  for (const body of ['{"name": ', "{'name': 1}", "[]", '"x"', Buffer.from([0x7b, 0xff, 0x7d])]) {
    const { status, code, message } = await send(body);
    assert.deepEqual([status, code], [400, "InvalidInput"], `${body}`);
    assert.match(message, /request body/);
  }
  assert.equal(await count("groups"), groups);
});

test("unknown services", async () => {
  const says = [/service/, /Use one of: .*postgres/];
  await refused("POST", "/v1/connections", newConnection({ service: "oracel" }), { status: 400, code: "InvalidInput", says });
  const empty = await world.ok("POST", "/v1/groups", { name: "no destination yet" });
  const destination = { group_id: empty.id, service: "floppy", region: "X", time_zone_offset: "0", config: {} };
  await refused("POST", "/v1/destinations", destination, { status: 400, code: "InvalidInput", says: [/service/, /Use one of: d1, r2|r2, d1/] });
  await refused("POST", "/v1/destinations", { ...destination, service: "d1", config: { binding: "NO_SUCH" } },
    { status: 400, code: "InvalidInput", says: [/NO_SUCH/, /wrangler\.toml/] });
});

test("invalid schedules", async () => {
  for (const [schedule, field, remedy] of [
    [{ sync_frequency: 7 }, /sync_frequency/, /1, 5, 15, 30/],
    [{ sync_frequency: "often" }, /sync_frequency/, /./],
    [{ schedule: "every 7 minutes" }, /schedule/, /closest is 'every 5 minutes'/],
    [{ schedule: "sometimes" }, /schedule/, /every 15 minutes/],
    [{ schedule: "every 5 minutes", sync_frequency: 5 }, /schedule/, /either/],
    [{ sync_frequency: 60, daily_sync_time: "03:00" }, /daily_sync_time/, /1440/],
    [{ sync_frequency: 1440, daily_sync_time: "03:30" }, /daily_sync_time/, /full hour/],
    [{ schedule_type: "cron" }, /schedule_type/, /auto.*manual|manual.*auto/],
  ]) {
    await refused("POST", "/v1/connections", newConnection(schedule), { status: 400, code: "InvalidInput", says: [field, remedy] });
  }
});

test("invalid configurations name the field and do not quote values", async () => {
  for (const [config, says] of [
    [{ port: 70_000 }, [/config\.port|port/]],
    [{ host: "", url: undefined }, [/config\.host/]],
    [{ user: "" }, [/config\.user/]],
    [{ sslmode: "sometimes" }, [/sslmode/]],
    [{ tables: ["no_dot"] }, [/config\.tables/, /schema\.table/]],
    [{ pasword: "typo" }, [/pasword/]],
    [{ update_method: "WAL_PGOUTPUT" }, [/config\.update_method/, /QUERY_BASED/]],
    [{ schema_prefix: "Not A Name" }, [/config\.schema_prefix/, /a-z/]],
    [{ password: "******" }, [/config\.password/]],
  ]) {
    const body = newConnection({}, { password: "s3cret-not-to-be-quoted", ...config });
    await refused("POST", "/v1/connections", body, { status: 400, code: "InvalidInput", says });
    const { body: answer } = await world.service.api("POST", "/v1/connections", body);
    assert.doesNotMatch(answer.message, /s3cret-not-to-be-quoted/);
  }
});

test("things that are not there, or there already", async () => {
  await refused("POST", "/v1/connections", { ...newConnection(), group_id: "nowhere" }, { status: 404, code: "NotFound_Group", says: [/nowhere/] });
  for (const [method, path] of [["GET", ""], ["PATCH", ""], ["DELETE", ""], ["POST", "/sync"], ["POST", "/resync"], ["GET", "/state"], ["GET", "/schemas"]]) {
    await refused(method, `/v1/connections/no_such${path}`, method === "GET" || method === "DELETE" ? undefined : {},
      { status: 404, code: "NotFound_Connection", says: [/no_such/] });
  }
  const { id } = await world.connection(group, { config: { schema_prefix: "taken" } });
  await refused("POST", "/v1/connections", newConnection({}, { schema_prefix: "taken" }), { status: 409, code: "Conflict", says: [/taken/] });
  await refused("GET", `/v1/connections/${id}/schemas`, undefined, { status: 404, code: "NotFound_SchemaConfig", says: [/./] });
  await refused("DELETE", `/v1/groups/${group}`, undefined, { status: 409, code: "IllegalState", says: [/connections/] });
  await refused("POST", "/v1/groups", { name: "" }, { status: 400, code: "InvalidInput", says: [/name/] });
  await refused("POST", `/v1/connections/${id}/resync`, { scope: { public: [] } }, { status: 400, code: "InvalidInput", says: [/scope/] });
});

test("wrong API keys", async () => {
  const ask = async (authorization) => {
    const response = await fetch(`${world.service.url}/v1/account/info`, { headers: authorization ? { authorization } : {} });
    return { status: response.status, challenge: response.headers.get("www-authenticate"), ...(await response.json()) };
  };
  const basic = (pair) => `Basic ${btoa(pair)}`;
  const none = await ask();
  assert.deepEqual([none.status, none.code, none.message], [401, "AuthFailed", "Missing authorization header"]);
  for (const header of [basic(`${world.service.apiKey}:wrong`), basic("wrong:wrong"), basic(world.service.apiKey), "Basic !!!", "Bearer x", basic(":")]) {
    const { status, code, message, challenge } = await ask(header);
    assert.deepEqual([status, code, message], [401, "AuthFailed", "Invalid authorization credentials"], header);
    assert.match(challenge, /Basic/);
  }
  // Not even what exists is told to strangers.
  const response = await fetch(`${world.service.url}/v1/connections/anything`);
  assert.equal(response.status, 401);
});

test("a body of 10 MB is refused, and the service goes on", async () => {
  const big = { name: "x".repeat(10 * 1024 * 1024) };
  await refused("POST", "/v1/groups", big, { status: 413, code: "PayloadTooLarge", says: [/4194304 bytes|4 MiB/] });
  await Promise.all(Array.from({ length: 5 }, () => world.service.api("POST", "/v1/groups", big)));
  assert.equal((await world.service.api("GET", "/healthz")).status, 200);
});

test("a D1 table of 101 columns fails with the limit and the way out, and other tables arrive", async () => {
  const columns = Array.from({ length: 98 }, (_, at) => `c${at} integer`).join(", ");
  await world.pg.query(`CREATE SCHEMA wide; CREATE TABLE wide.t (id integer PRIMARY KEY, ${columns}); INSERT INTO wide.t (id) VALUES (1);
    CREATE TABLE wide.narrow (id integer PRIMARY KEY); INSERT INTO wide.narrow VALUES (1)`);
  const { id } = await world.connection(group, { config: { schema_prefix: "wide", schemas: ["wide"] } });
  const run = await world.sync(id);
  assert.equal(run.state, "FAILURE_WITH_TASK");
  assert.equal(tableOf(run, "narrow").state, "published");
  const { error } = tableOf(run, "t");
  assert.equal(error.kind, "destination_limit");
  assert.match(error.message, /101 columns|100 columns/);
  assert.match(error.remedy, /exclude|R2/i);
  const { results } = await (await world.service.d1(DATABASE)).prepare("SELECT name FROM sqlite_master WHERE name LIKE 'wide_wide__%'").all();
  assert.deepEqual(results.map(({ name }) => name), ["wide_wide__narrow"], "no half of the table");
  assert.match((await world.ok("GET", `/v1/connections/${id}`)).status.tasks[0].message, /columns/);
});

test("i9_a_value_of_50_MB_is_an_error_that_names_it_and_never_a_crash", async () => {
  await world.pg.query(`CREATE SCHEMA huge; CREATE TABLE huge.t (id integer PRIMARY KEY, small text, doc text);
    INSERT INTO huge.t SELECT i, 'small', CASE WHEN i = 3 THEN repeat('x', 50 * 1024 * 1024) ELSE 'ok' END FROM generate_series(1, 5) i`);
  const lake = await world.destination("r2", { bucket: BUCKET });
  for (const destination of [group, lake]) {
    const { id } = await world.connection(destination, { config: { schema_prefix: "huge", schemas: ["huge"] } });
    const run = await world.sync(id);
    assert.equal(run.state, "FAILURE_WITH_TASK");
    assert.equal(run.error.kind, "data");
    assert.match(run.error.message, /doc/);
    assert.match(run.error.message, /52428800|50 MiB|bytes/);
    assert.match(run.error.remedy, /exclude/i);
    // Without that column the table arrives.
    await world.ok("PATCH", `/v1/connections/${id}/schemas/huge/tables/t/columns/doc`, { enabled: false });
    await world.synced(id);
    await world.ok("DELETE", `/v1/connections/${id}`);
  }
  const keys = await keysIn(await world.service.r2(BUCKET), "huge_huge/t/data/");
  assert.equal(keys.filter((key) => key.endsWith(".parquet")).length, 1, `${keys}`);
});

test("a value that R2 takes and D1 does not is D1's limit", async () => {
  await world.pg.query("CREATE SCHEMA mid; CREATE TABLE mid.t (id integer PRIMARY KEY, doc text); INSERT INTO mid.t VALUES (1, 'ok'), (2, repeat('y', 2050000))");
  const { id } = await world.connection(group, { config: { schema_prefix: "mid", schemas: ["mid"] } });
  const run = await world.sync(id);
  assert.equal(run.state, "FAILURE_WITH_TASK");
  assert.equal(run.error.kind, "destination_limit");
  assert.match(run.error.message, /2050\d{3} bytes/);
  assert.match(run.error.remedy, /R2/);
});
