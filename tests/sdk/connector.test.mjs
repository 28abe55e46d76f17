import assert from "node:assert/strict";
import { test } from "node:test";
import * as sdk from "../../dist/sdk/index.js";
import { memoryService, tableOf } from "./memory.mjs";

const { Fivetran } = sdk;
const client = (service, options = {}) => new Fivetran({ apiKey: "k", apiSecret: "s", baseUrl: service.url, ...options });
const shop = (more = {}) => ({
  id: "Shop-Prod",
  source: { type: "postgres", host: "db.example", port: 5432, user: "reader", password: "first" },
  destination: { type: "d1", database: "ANALYTICS_DB" },
  sync: { schedule: "every 15 minutes", mode: "incremental" },
  ...more,
});
const sent = (service, method) => service.requests.filter((request) => request.method === method).map(({ body }) => body);

test("creating a connector sends nothing, and its first call makes group, destination and connection", async (t) => {
  const service = await memoryService(t);
  const connector = client(service).createConnector(shop());
  assert.equal(service.requests.length, 0);
  const connection = await connector.ensure();
  assert.equal(connection.schema, "shop_prod");
  const [group, destination, created] = sent(service, "POST");
  assert.match(group.name, /^d1_analytics_db_[0-9a-f]{8}$/);
  assert.deepEqual(destination.config, { binding: "ANALYTICS_DB" });
  assert.deepEqual(created, {
    group_id: "group-1",
    service: "postgres",
    config: { host: "db.example", port: 5432, user: "reader", password: "first", schema_prefix: "shop_prod" },
    run_setup_tests: true,
    schedule: "every 15 minutes",
    sync_mode: "incremental",
  });
});

test("Fivetran's names of hosted PostgreSQL are databases, too: they name the prefix of their schemas", async (t) => {
  const service = await memoryService(t);
  const names = ["aurora_postgres", "azure_postgres", "google_cloud_postgresql", "heroku_postgres", "postgres_rds"];
  for (const type of names) await client(service).createConnector(shop({ id: type, source: { type, host: "db" } })).ensure();
  const created = sent(service, "POST").filter((body) => names.includes(body.service));
  assert.deepEqual(created.map(({ config }) => config), names.map((name) => ({ host: "db", schema_prefix: name })));
});

test("concurrent calls of one client make one of each", async (t) => {
  const service = await memoryService(t);
  const fivetran = client(service);
  const lake = { type: "r2", bucket: "LAKE", prefix: "raw" };
  const connectors = [shop(), shop(), shop({ id: "other" }), shop({ id: "lake", destination: lake })].map((one) => fivetran.createConnector(one));
  await Promise.all(connectors.flatMap((connector) => [connector.ensure(), connector.status(), connector.ensure()]));
  assert.deepEqual(service.connections.map(({ schema }) => schema).sort(), ["lake", "other", "shop_prod"]);
  assert.equal(service.groups.length, 2);
  assert.equal(service.destinations.size, 2);
});

test("somebody else who creates the same at the same moment is found, not doubled", async (t) => {
  const service = await memoryService(t, {
    beforeCreate(kind, body, { groups, connections }) {
      if (kind === "group") groups.push({ id: "theirs", name: body.name, created_at: "" });
      const status = { setup_state: "connected", tasks: [] };
      const theirs = { id: "c-theirs", group_id: body.group_id, service: body.service, schema: "shop_prod", config: {}, status };
      if (kind === "connection") connections.push(theirs);
    },
  });
  const connection = await client(service).createConnector(shop()).ensure();
  assert.equal(connection.id, "c-theirs");
  assert.deepEqual([service.groups.length, service.connections.length], [1, 1]);
  assert.equal(connection.config.host, "db.example", "what differed was changed");
});

test("somebody else who creates it between the looks here and elsewhere is found, not taken for elsewhere", async (t) => {
  const service = await memoryService(t, {
    afterList(query, { connections }) {
      if (connections.length > 0) return;
      const status = { setup_state: "connected", tasks: [] };
      connections.push({ id: "c-theirs", group_id: query.get("group_id"), service: "postgres", schema: "shop_prod", config: {}, status });
    },
  });
  assert.equal((await client(service).createConnector(shop()).ensure()).id, "c-theirs");
});

test("the same definition again changes nothing, and sends secrets once per client", async (t) => {
  const service = await memoryService(t);
  await client(service).createConnector(shop()).ensure();
  const later = client(service);
  await later.createConnector(shop()).ensure();
  await later.createConnector(shop()).ensure();
  assert.deepEqual(sent(service, "PATCH"), [{ config: { password: "first" }, run_setup_tests: false }]);
  assert.equal(sent(service, "POST").length, 3);
});

test("what differs is changed, and what the definition no longer has is removed", async (t) => {
  const service = await memoryService(t);
  const fivetran = client(service);
  await fivetran.createConnector(shop()).ensure();
  const source = { type: "postgres", host: "db2.example", user: "reader", password: "second", numericAsText: true };
  const sync = { schedule: "hourly", mode: "full", paused: true };
  await fivetran.createConnector(shop({ source, sync })).ensure();
  assert.deepEqual(sent(service, "PATCH"), [
    {
      schedule: "hourly",
      sync_mode: "full",
      paused: true,
      config: { host: "db2.example", password: "second", numeric_as_text: true, port: null },
      run_setup_tests: true,
    },
  ]);
  assert.equal(service.secrets.get("connection-1.password"), "second");
  assert.equal(service.connections[0].config.port, undefined);
});

test("trustCertificates is asked for when the setup tests run, and not otherwise", async (t) => {
  const service = await memoryService(t);
  const trusting = (more) => client(service).createConnector(shop({ trustCertificates: true, ...more })).ensure();
  await trusting();
  assert.equal(sent(service, "POST").at(-1).trust_certificates, true);
  await trusting({ sync: { schedule: "hourly", mode: "incremental" } });
  await trusting({ source: { type: "postgres", host: "db2.example", port: 5432, user: "reader", password: "first" } });
  const asked = sent(service, "PATCH").map(({ run_setup_tests, trust_certificates }) => [run_setup_tests, trust_certificates]);
  assert.deepEqual(asked, [[false, undefined], [true, true]]);
});

test("failed setup tests throw with the tests, and the next call tries again", async (t) => {
  let passes = false;
  const failing = { title: "Authenticating", status: "FAILED", message: "Wrong password. Correct config.password" };
  const service = await memoryService(t, { tests: (target) => (passes || !target.service.startsWith("postgres") ? [] : [failing]) });
  const connector = client(service).createConnector(shop());
  const error = await connector.sync().catch((caught) => caught);
  assert.ok(error instanceof sdk.SetupTestsFailedError);
  assert.match(error.message, /Authenticating: Wrong password. Correct config.password/);
  assert.deepEqual([error.objectId, error.tests], ["connection-1", [failing]]);
  passes = true;
  assert.equal((await connector.ensure()).status.setup_state, "connected");
  assert.equal(service.connections.length, 1);
});

test("a connector cannot move to another destination or become another service", async (t) => {
  const service = await memoryService(t);
  const fivetran = client(service);
  await fivetran.createConnector(shop()).ensure();
  const moved = client(service).createConnector(shop({ destination: { type: "r2", bucket: "LAKE" } }));
  await assert.rejects(moved.ensure(), sdk.ConflictError);
  const turned = client(service).createConnector(shop({ source: { type: "mysql", host: "h" } }));
  await assert.rejects(turned.ensure(), /is a postgres connection/);
  assert.equal(service.connections.length, 1);
});

test("two ids that give one schema name are refused", async (t) => {
  const service = await memoryService(t);
  const fivetran = client(service);
  await fivetran.createConnector(shop({ id: "a-b" })).ensure();
  await assert.rejects(fivetran.createConnector(shop({ id: "a_b" })).ensure(), /a-b and a_b/);
  assert.equal((await fivetran.createConnector(shop({ id: "a_b", schema: "ab2" })).ensure()).schema, "ab2");
});

test("definitions that cannot be right throw at once", async (t) => {
  const service = await memoryService(t);
  const fivetran = client(service);
  const transform = { type: "sql", query: "SELECT 1" };
  assert.throws(() => fivetran.createConnector(shop({ transform })), sdk.NotSupportedError);
  for (const wrong of [{ id: "" }, { id: "--" }, { id: "x".repeat(64) }, { source: {} }, { destination: undefined }]) {
    assert.throws(() => fivetran.createConnector(shop(wrong)), sdk.InvalidInputError);
  }
  assert.equal(service.requests.length, 0);
});

test("bindings are known by name, by pair, or by identity in env", async (t) => {
  const service = await memoryService(t);
  const env = { ANALYTICS_DB: { prepare() {} }, LAKE: { put() {} }, HYPER: { connectionString: "" } };
  const config = async (destination, options = { env }) => {
    const connector = client(service, options).createConnector(shop({ id: `c${service.requests.length}`, destination }));
    return service.destinations.get((await connector.ensure()).group_id).config;
  };
  const named = { binding: "ANALYTICS_DB" };
  assert.deepEqual(await config({ type: "d1", database: "ANALYTICS_DB" }), named);
  assert.deepEqual(await config({ type: "d1", database: env.ANALYTICS_DB }), named);
  assert.deepEqual(await config({ type: "d1", database: { binding: env.ANALYTICS_DB, name: "ANALYTICS_DB" } }, {}), named);
  assert.deepEqual(await config({ type: "r2", bucket: env.LAKE, format: "csv" }), { bucket: "LAKE", format: "csv" });
  const byId = { databaseId: "d", accountId: "a", apiToken: "secret" };
  assert.deepEqual(await config({ type: "d1", database: byId }), { database_id: "d", account_id: "a", api_token: "******" });
  await assert.rejects(config({ type: "d1", database: env.ANALYTICS_DB }, {}), /does not know its name.*new Fivetran/);
  await assert.rejects(config({ type: "r2", bucket: { put() {} } }), /not one of the bindings/);
  const hyper = client(service, { env }).createConnector(shop({ id: "h", source: { type: "postgres", hyperdrive: env.HYPER } }));
  assert.equal((await hyper.ensure()).config.hyperdrive, "HYPER");
});

test("a sync reports progress, its tables and its rows, and listeners hear of it", async (t) => {
  const reading = { state: "RUNNING", phase: "reading", tables: [tableOf("orders", 10, { state: "reading", estimated_rows: 30 })] };
  const done = { tables: [tableOf("orders", 30), tableOf("users", 2)] };
  const service = await memoryService(t, { run: () => [{ state: "RUNNING", phase: "planning" }, reading, done] });
  const fivetran = client(service);
  const heard = [];
  const stop = fivetran.onSyncComplete((event) => heard.push(event));
  fivetran.onSyncComplete(() => Promise.reject(new Error("a listener's own trouble")));
  t.mock.method(console, "error", () => {});
  const seen = [];
  const connector = fivetran.createConnector(shop());
  const result = await connector.sync({ onProgress: ({ rows, estimatedRows, phase }) => seen.push([phase, rows, estimatedRows]) });
  assert.deepEqual(seen, [["planning", 0, undefined], ["reading", 10, 30], ["done", 32, 32]]);
  const { status, rowsSynced, runId, startedAt, endedAt } = result;
  assert.deepEqual({ status, rowsSynced, runId, took: endedAt - startedAt }, { status: "succeeded", rowsSynced: 32, runId: "run-1", took: 10_000 });
  assert.deepEqual(result.tables.map(({ table, rows }) => [table, rows]), [["orders", 30], ["users", 2]]);
  assert.deepEqual(heard.map((event) => [event.connectorId, event.rowsSynced]), [["Shop-Prod", 32]]);
  stop();
  assert.equal((await connector.sync()).runId, "run-2");
  assert.equal(heard.length, 1);
});

test("a sync that fails throws the service's error, its tables and its tasks", async (t) => {
  const report = { kind: "source_permission", message: "Permission denied for table orders", remedy: "Grant SELECT" };
  const failed = { state: "FAILURE_WITH_TASK", tables: [tableOf("orders", 0, { state: "failed", error: report })], error: report };
  const service = await memoryService(t, { run: () => failed });
  const fivetran = client(service);
  const heard = [];
  fivetran.onSyncError((event) => heard.push(event));
  const connector = fivetran.createConnector(shop());
  const { id } = await connector.ensure();
  service.connections[0].status.tasks.push({ code: "permission", message: "Grant SELECT on orders" });
  const error = await connector.sync().catch((caught) => caught);
  assert.ok(error instanceof sdk.SyncFailedError);
  assert.match(error.message, /Shop-Prod failed: Permission denied for table orders. Grant SELECT/);
  assert.deepEqual([error.code, error.state, error.connectionId], ["source_permission", "FAILURE_WITH_TASK", id]);
  assert.deepEqual([error.tasks[0].code, error.tables[0].table], ["permission", "orders"]);
  assert.deepEqual(heard, [{ connectorId: "Shop-Prod", connectionId: id, error }]);
});

test("waiting can be left out, limited and aborted, and the sync goes on", async (t) => {
  const service = await memoryService(t, { run: () => ({ state: "RUNNING", phase: "reading" }) });
  const fivetran = client(service);
  const heard = [];
  fivetran.onSyncError((event) => heard.push(event));
  const connector = fivetran.createConnector(shop());
  const { status, runId, endedAt } = await connector.sync({ wait: false });
  assert.deepEqual({ status, runId, endedAt }, { status: "running", runId: "run-1", endedAt: undefined });
  const late = await connector.sync({ timeoutMs: 50 }).catch((caught) => caught);
  assert.ok(late instanceof sdk.TimeoutError);
  assert.equal(late.code, "SyncStillRunning");
  const reason = new Error("enough");
  await assert.rejects(connector.sync({ signal: AbortSignal.timeout(50) }), { name: "TimeoutError" });
  await assert.rejects(connector.sync({ signal: AbortSignal.abort(reason) }), reason);
  assert.deepEqual(heard, []);
});

test("a sync waits for the run that it started, though others started one after it", async (t) => {
  const runs = [undefined, { tables: [tableOf("orders", 7)] }, { state: "RUNNING", phase: "reading", tables: [tableOf("orders", 1)] }];
  const service = await memoryService(t, { run: (number) => runs[number] });
  const connector = client(service).createConnector(shop());
  const { id } = await connector.ensure();
  // Between the answer that names the run and the first look at it.
  service.afterStart = () => service.runs.set(id, { id: "run-2", looks: [runs[2]], at: 0 });
  const { runId, status, rowsSynced } = await connector.sync();
  assert.deepEqual({ runId, status, rowsSynced }, { runId: "run-1", status: "succeeded", rowsSynced: 7 });
});

test("a handle whose connection was deleted elsewhere makes it again", async (t) => {
  const service = await memoryService(t);
  const connector = client(service).createConnector(shop());
  await connector.sync();
  service.connections.splice(0);
  assert.equal((await connector.sync()).status, "succeeded");
  assert.equal(service.connections.length, 1);
});

test("delete removes the connection, creates nothing, and says whether there was one", async (t) => {
  const service = await memoryService(t);
  const connector = client(service).createConnector(shop());
  assert.equal(await connector.delete(), false);
  assert.equal(sent(service, "POST").length, 0);
  await connector.ensure();
  assert.equal(await connector.delete(), true);
  assert.equal(service.connections.length, 0);
  assert.equal(service.groups.length, 1);
});

test("status says how a connector is in one word", async (t) => {
  const service = await memoryService(t, { run: () => ({ tables: [tableOf("orders", 7)] }) });
  const connector = client(service).createConnector(shop());
  assert.equal((await connector.status()).status, "healthy");
  await connector.sync();
  const [one] = service.connections;
  const early = "2026-01-01T00:00:00.000001Z";
  const late = "2026-01-01T00:00:00.000002Z";
  Object.assign(one, { succeeded_at: late, failed_at: early, next_sync_at: "2026-01-01T00:15:00.000000Z" });
  const { status, lastSync, rowsSynced, nextSync } = await connector.status();
  assert.deepEqual({ status, lastSync, rowsSynced, nextSync }, {
    status: "healthy",
    lastSync: new Date(late),
    rowsSynced: 7,
    nextSync: new Date("2026-01-01T00:15:00Z"),
  });
  Object.assign(one, { succeeded_at: early, failed_at: late });
  assert.equal((await connector.status()).status, "failing");
  await connector.pause();
  assert.equal((await connector.status()).status, "paused");
  await connector.resume();
  one.status.setup_state = "incomplete";
  assert.equal((await connector.status()).status, "incomplete");
  one.status.sync_state = "syncing";
  assert.equal((await connector.status()).status, "syncing");
});

test("a re-sync of some tables names them by schema", async (t) => {
  const service = await memoryService(t);
  const connector = client(service).createConnector(shop());
  await connector.ensure();
  const asked = [];
  for (const tables of [undefined, ["public.users", "public.orders", "crm.a.b"], { "my.schema": ["t"] }]) {
    await connector.resync(tables && { tables });
    asked.push(sent(service, "POST").at(-1));
  }
  assert.deepEqual(asked, [{}, { scope: { public: ["users", "orders"], crm: ["a.b"] } }, { scope: { "my.schema": ["t"] } }]);
});
