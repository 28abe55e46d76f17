// Webhooks, all the way: a real receiver on this machine, the real outbox, queue and cron. What is checked here is what a
// receiver of Fivetran's would check: the signature with node's own crypto, the fields, the patience.
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { BUCKET } from "./support/landed.mjs";
import { startWorld, until } from "./support/world.mjs";

const SECRET = "webhook-s3cret";
const world = await startWorld();
const received = [];
let answer = () => 200;
let receiver;
let group;
let connection;

before(async () => {
  receiver = createServer((request, response) => {
    const pieces = [];
    request.on("data", (piece) => pieces.push(piece));
    request.on("end", () => {
      const raw = Buffer.concat(pieces);
      if (request.url === "/mute") return;
      const status = answer(request.url);
      received.push({ path: request.url, headers: request.headers, raw, body: parsed(raw), status });
      response.writeHead(status, status === 302 ? { location: "/elsewhere" } : {}).end();
    });
  });
  await new Promise((listening) => receiver.listen(0, "127.0.0.1", listening));
  await world.pg.query("CREATE TABLE t (id integer PRIMARY KEY); INSERT INTO t VALUES (1)");
  group = await world.destination("r2", { bucket: BUCKET });
});

after(() => {
  receiver.closeAllConnections();
  receiver.close();
});

/** A webhook's body. A log service may be sent several objects, which are looked at as text. */
function parsed(raw) {
  try {
    return JSON.parse(raw);
  } catch {
    return {};
  }
}

const url = (path) => `http://127.0.0.1:${receiver.address().port}${path}`;
const at = (path) => received.filter((request) => request.path === path);
const deliveries = async (id) => (await world.ok("GET", `/v1/webhooks/${id}/deliveries`)).items;

test("a webhook is probed, and one that does not answer with 2xx is refused", async () => {
  for (const status of [500, 302]) {
    answer = () => status;
    const refused = await world.service.api("POST", "/v1/webhooks/account", { url: url("/bad"), events: ["sync_end"] });
    assert.deepEqual([refused.status, refused.body.code], [400, "InvalidInput"]);
    assert.match(refused.body.message, new RegExp(`url.*${status}`));
  }
  assert.deepEqual(at("/elsewhere"), [], "a redirect is not followed");
  answer = () => 200;
  assert.equal(at("/bad")[0].body.event, "test_event");
  for (const bad of ["http://example.com/x", "ftp://127.0.0.1/x", "not a url"]) {
    const refused = await world.service.api("POST", "/v1/webhooks/account", { url: bad, events: ["sync_end"] });
    assert.equal(refused.status, 400, bad);
  }
});

test("a sync is told at once, signed over exactly the bytes that arrive, without the cron", async () => {
  const events = ["create_connector", "connection_successful", "sync_start", "sync_end"];
  const hook = await world.ok("POST", `/v1/webhooks/group/${group}`, { url: url("/sync"), events, secret: SECRET });
  assert.equal(hook.secret, "******");
  connection = await world.connection(group, { config: { schema_prefix: "told" } });
  await world.synced(connection.id);
  await until(() => at("/sync").length === 1 + events.length, "all four events and the probe");
  const told = at("/sync").slice(1);
  assert.deepEqual(told.map(({ body }) => body.event).sort(), [...events].sort());
  for (const { headers, raw } of at("/sync")) {
    const expected = createHmac("sha256", SECRET).update(raw).digest("hex").toUpperCase();
    assert.equal(headers["x-fivetran-signature-256"], expected);
    assert.match(headers["content-type"], /^application\/json/);
  }
  const end = told.find(({ body }) => body.event === "sync_end").body;
  const { id: run } = (await world.ok("GET", `/v1/connections/${connection.id}/runs`)).items[0];
  assert.deepEqual(Object.keys(end),
    ["event", "created", "connector_type", "connector_id", "connector_name", "sync_id", "destination_group_id", "data"]);
  assert.deepEqual([end.connector_type, end.connector_id, end.connector_name, end.sync_id, end.destination_group_id, end.data],
    ["postgres", connection.id, "told", run, group, { status: "SUCCESSFUL" }]);
  assert.match(end.created, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
  const log = await until(async () => {
    const items = await deliveries(hook.id);
    return items.every(({ state }) => state === "delivered") && items;
  }, "the log to say so");
  assert.deepEqual(log.map(({ id }) => id).sort(), told.map(({ headers }) => headers["x-fivetran-delivery-id"]).sort());
  await world.ok("DELETE", `/v1/webhooks/${hook.id}`);
});

test("a receiver that never answers holds nobody up, and is given ten seconds", async () => {
  const events = ["sync_end"];
  const mute = { url: url("/mute"), events, active: false };
  const hook = await world.ok("POST", "/v1/webhooks/account", mute);
  // Reviving it would probe it: here it is to be reached by a delivery only.
  const db = await world.service.d1("DB");
  await db.prepare("UPDATE receivers SET active = 1 WHERE id = ?1").bind(hook.id).run();
  const began = Date.now();
  await world.synced(connection.id);
  assert.ok(Date.now() - began < 9_000, "the run does not wait");
  const failed = await until(async () => (await deliveries(hook.id)).find(({ error }) => error), "the end of its patience");
  assert.match(failed.error, /10 seconds/);
  assert.equal(failed.response_status, null);
  await world.ok("DELETE", `/v1/webhooks/${hook.id}`);
});

test("after an answer of 500 the same delivery comes again with the sweep when its time has come", async () => {
  const hook = await world.ok("POST", "/v1/webhooks/account", { url: url("/retry"), events: ["sync_end"], secret: SECRET });
  answer = () => 500;
  await world.synced(connection.id);
  const failed = await until(async () => (await deliveries(hook.id)).find(({ attempts, error }) => attempts === 1 && error), "a failed attempt");
  assert.equal(failed.response_status, 500);
  assert.match(failed.error, /500/);
  const pause = Date.parse(failed.next_attempt_at) - Date.parse(failed.last_attempt_at);
  assert.ok(Math.abs(pause - 300_000) < 15_000, `${pause} ms`);
  answer = () => 200;
  await world.service.cron();
  assert.equal(at("/retry").length, 2, "not before its time: the probe and one attempt");
  const db = await world.service.d1("DB");
  await db.prepare("UPDATE deliveries SET next_attempt_at = 1 WHERE id = ?1").bind(failed.id).run();
  await world.service.cron();
  const [done] = await until(async () => {
    const items = await deliveries(hook.id);
    return items[0].state === "delivered" && items;
  }, "the second attempt");
  assert.deepEqual([done.attempts, done.next_attempt_at], [2, null]);
  const [first, second] = at("/retry").slice(1);
  assert.deepEqual(second.raw, first.raw);
  assert.equal(second.headers["x-fivetran-delivery-id"], first.headers["x-fivetran-delivery-id"]);
  assert.equal(second.headers["x-fivetran-delivery-attempt"], "2");
});

test("a log service gets the lines of a run, and its test says what it answered", async () => {
  const { port } = receiver.address();
  const config = { host: "127.0.0.1", port, enable_ssl: false, token: SECRET };
  const log = await world.ok("POST", "/v1/external-logging", { group_id: group, service: "splunkLog", config });
  assert.deepEqual([log.id, log.config.token], [group, "******"]);
  await world.synced(connection.id);
  const path = "/services/collector/event";
  const { items } = await world.ok("GET", `/v1/connections/${connection.id}/runs?limit=1000`);
  const lines = () => at(path).map(({ raw }) => raw.toString());
  await until(() => lines().some((line) => line.includes("sync_end")), "the end of the run");
  assert.ok(lines().some((line) => line.includes(items.at(-1).id)));
  assert.equal(at(path)[0].headers.authorization, `Splunk ${SECRET}`);
  answer = () => 403;
  const { setup_tests: tests } = await world.ok("POST", `/v1/external-logging/${group}/test`);
  answer = () => 200;
  assert.equal(tests[0].status, "FAILED");
  assert.match(tests[0].message, /403/);
  await world.ok("DELETE", `/v1/external-logging/${group}`);
});

test("the test endpoint tells what the receiver said, and a deleted connection is still told of", async () => {
  const hook = await world.ok("POST", "/v1/webhooks/account", { url: url("/last"), events: ["delete_connector"] });
  const result = await world.ok("POST", `/v1/webhooks/${hook.id}/test`, { event: "delete_connector" });
  assert.deepEqual([result.succeed, result.status], [true, 200]);
  answer = () => 503;
  const failing = await world.ok("POST", `/v1/webhooks/${hook.id}/test`, { event: "test_event" });
  assert.deepEqual([failing.succeed, failing.status], [false, 503]);
  answer = () => 200;
  await world.ok("DELETE", `/v1/connections/${connection.id}`);
  const told = await until(() => at("/last").find(({ body }) => body.connector_id === connection.id), "the deletion");
  assert.deepEqual([told.body.event, told.body.connector_name], ["delete_connector", "told"]);
  assert.equal(told.headers["x-fivetran-signature-256"], undefined, "no secret, no signature");
});
