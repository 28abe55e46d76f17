// The surface: what anybody sees, the REST objects from birth to death over real HTTP, and the TypeScript client.
import assert from "node:assert/strict";
import { before, test } from "node:test";
import { BUCKET, DATABASE, assertLanded } from "./support/landed.mjs";
import { startWorld } from "./support/world.mjs";

const world = await startWorld();

before(() => world.pg.query("CREATE TABLE users (id integer PRIMARY KEY, email text); INSERT INTO users SELECT i, 'u' || i || '@example.com' FROM generate_series(1, 250) i"));

const open = async (path, init) => {
  const response = await fetch(world.service.url + path, init);
  return { status: response.status, headers: response.headers, text: await response.text() };
};

test("anybody learns what this is, that it lives, and how to speak to it", async () => {
  const root = await open("/");
  assert.equal(root.status, 200);
  const about = JSON.parse(root.text);
  assert.equal(about.name, "fivetran.do");
  assert.equal(about.links.openapi, `${world.service.url}/v1/openapi.json`);
  const health = await open("/healthz");
  assert.deepEqual([health.status, JSON.parse(health.text).status], [200, "ok"]);
  assert.equal((await open("/healthz", { method: "HEAD" })).text, "");
  assert.equal((await open("/nothing/here")).status, 404);
  const wrong = await open("/healthz", { method: "DELETE" });
  assert.deepEqual([wrong.status, wrong.headers.get("allow")?.includes("GET")], [405, true]);
});

test("the OpenAPI document is valid, and its references lead somewhere", async () => {
  const { text } = await open("/v1/openapi.json");
  const document = JSON.parse(text);
  assert.match(document.openapi, /^3\.1\./);
  assert.ok(document.info.title && document.info.version);
  const operations = Object.entries(document.paths).flatMap(([path, item]) =>
    Object.entries(item).filter(([method]) => ["get", "post", "patch", "put", "delete"].includes(method)).map(([method, operation]) => ({ path, method, ...operation })));
  assert.ok(operations.length >= 35, `${operations.length} operations`);
  const ids = operations.map(({ operationId }) => operationId);
  assert.ok(ids.every(Boolean) && new Set(ids).size === ids.length, "operation ids are unique");
  for (const { path, method, parameters = [], responses } of operations) {
    assert.ok(Object.keys(responses).some((status) => status.startsWith("2")), `${method} ${path}`);
    const declared = parameters.map((parameter) => resolve(document, parameter)).filter((parameter) => parameter.in === "path").map(({ name }) => name);
    assert.deepEqual(declared.sort(), [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name).sort(), `${method} ${path}`);
  }
  for (const [, reference] of text.matchAll(/"\$ref":\s*"([^"]+)"/g)) {
    assert.ok(resolve(document, { $ref: reference }), reference);
  }
});

function resolve(document, value) {
  if (!value?.$ref) return value;
  assert.ok(value.$ref.startsWith("#/"), value.$ref);
  return value.$ref.slice(2).split("/").reduce((at, part) => at?.[part.replaceAll("~1", "/").replaceAll("~0", "~")], document);
}

test("groups, destinations and connections live and die over REST", async () => {
  const { ok } = world;
  const group = await ok("POST", "/v1/groups", { name: "a group" });
  assert.equal((await ok("PATCH", `/v1/groups/${group.id}`, { name: "renamed" })).name, "renamed");
  const destination = await ok("POST", "/v1/destinations", {
    group_id: group.id, service: "r2", region: "GCP_US_EAST4", time_zone_offset: "+2", config: { bucket: BUCKET },
  });
  assert.deepEqual([destination.id, destination.setup_status], [group.id, "CONNECTED"]);
  assert.equal((await ok("PATCH", `/v1/destinations/${group.id}`, { time_zone_offset: "-5" })).time_zone_offset, "-5");

  // As Terraform and others send them: strings where numbers are meant.
  const made = await world.connection(group.id, { sync_frequency: "60", paused: "false", config: { schema_prefix: "crm", port: String(world.pg.port) } });
  assert.deepEqual([made.sync_frequency, made.paused, made.schema, made.config.password], [60, false, "crm", "******"]);
  assert.deepEqual(made.status, {
    setup_state: "connected", sync_state: "scheduled", update_state: "on_schedule", is_historical_sync: true,
    rescheduled_for: null, tasks: [], warnings: [], ...made.status,
  });
  for (const key of ["succeeded_at", "failed_at", "service_version", "daily_sync_time", "connected_by"]) assert.ok(key in made, key);
  assert.equal((await ok("GET", `/v1/groups/${group.id}/connections`)).items[0].id, made.id);
  assert.equal((await ok("GET", `/v1/connectors/${made.id}`)).id, made.id, "the old name still works");

  await ok("POST", `/v1/connections/${made.id}/schemas/reload`, {});
  assert.deepEqual(Object.keys((await ok("GET", `/v1/connections/${made.id}/schemas`)).schemas), ["public"]);
  await world.synced(made.id);
  const after = await ok("GET", `/v1/connections/${made.id}`);
  assert.match(after.succeeded_at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
  assert.equal(after.status.is_historical_sync, false);

  const { state } = await ok("GET", `/v1/connections/${made.id}/state`);
  assert.ok(state.public.users, JSON.stringify(state));
  await ok("PATCH", `/v1/connections/${made.id}/state`, { state: {} });
  assert.equal((await world.synced(made.id)).tables[0].mode, "full", "without cursors everything is read");

  const events = (await ok("GET", `/v1/connections/${made.id}/logs`)).items.map(({ event }) => event);
  for (const event of ["sync_start", "records_modified", "sync_end"]) assert.ok(events.includes(event), `${events}`);

  await ok("DELETE", `/v1/connections/${made.id}`);
  assert.equal((await world.service.api("GET", `/v1/connections/${made.id}`)).status, 404);
  await ok("DELETE", `/v1/destinations/${group.id}`);
  await ok("DELETE", `/v1/groups/${group.id}`);
  assert.equal((await world.service.api("GET", `/v1/groups/${group.id}`)).body.code, "NotFound_Group");
});

test("listings have pages that miss nothing and repeat nothing", async () => {
  const group = await world.destination("r2", { bucket: BUCKET });
  const made = [];
  for (let at = 0; at < 7; at += 1) made.push((await world.connection(group, { paused: true, run_setup_tests: false, config: { schema_prefix: `page${at}` } })).id);
  const seen = [];
  let cursor;
  do {
    const page = await world.ok("GET", `/v1/groups/${group}/connections?limit=3${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""}`);
    assert.ok(page.items.length <= 3);
    seen.push(...page.items.map(({ id }) => id));
    cursor = page.next_cursor;
  } while (cursor);
  assert.deepEqual(seen.sort(), made.sort());
});

test("the TypeScript client: a pipeline as code, twice the same is one", async () => {
  const { Fivetran } = await import("../../dist/sdk/index.js");
  const { apiKey, apiSecret, url: baseUrl } = world.service;
  const fivetran = new Fivetran({ apiKey, apiSecret, baseUrl });
  const definition = {
    id: "users-to-d1",
    source: { type: "postgres", url: world.pg.url, tables: ["public.users"] },
    destination: { type: "d1", database: DATABASE },
    sync: { schedule: "every 15 minutes", mode: "incremental" },
  };
  const completed = [];
  fivetran.onSyncComplete((event) => void completed.push(event));
  const users = fivetran.createConnector(definition);
  const first = await users.sync();
  assert.equal(first.rowsSynced, 250);
  await world.pg.query("INSERT INTO users VALUES (251, NULL)");
  assert.equal((await users.sync()).rowsSynced, 1);
  const status = await users.status();
  assert.equal(status.status, "healthy");
  assert.ok(status.lastSync instanceof Date && Date.now() - status.lastSync < 60_000);
  assert.equal(completed.length, 2);
  await assertLanded(world, "d1", status.connectionId, ["users"]);

  const again = new Fivetran({ apiKey, apiSecret, baseUrl }).createConnector(definition);
  assert.equal((await again.status()).connectionId, status.connectionId);

  const failed = [];
  fivetran.onSyncError((event) => void failed.push(event));
  const wrong = fivetran.createConnector({ ...definition, id: "wrong", source: { ...definition.source, url: world.pg.url.replace(/:[^:@]+@/, ":wrong@") } });
  await assert.rejects(() => wrong.sync(), /password/);
  assert.equal(failed.length, 1);
  assert.ok(await users.delete());
});
