// The SDK against the real Worker in workerd and a real PostgreSQL.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import * as sdk from "../../dist/sdk/index.js";
import { startPostgres } from "../../scripts/dev/postgres.mjs";
import { startService } from "../../scripts/dev/service.mjs";

const { Fivetran } = sdk;
let postgres;
let service;

before(async () => {
  // Bindings to the service, as other Workers have them, by what they say of the Worker that calls.
  const configure = (worker) => {
    const binding = (props) => ({ name: worker.name, ...(props && { props }) });
    worker.serviceBindings = { OWNERS: binding({ caller: "owner" }), STRANGERS: binding({ caller: "stranger" }), BARE: binding() };
  };
  [postgres, service] = await Promise.all([startPostgres(), startService({ configure })]);
  await postgres.query(`
    CREATE SCHEMA shop;
    CREATE TABLE shop.orders (id bigint PRIMARY KEY, amount numeric(12,2), note text);
    INSERT INTO shop.orders SELECT n, n * 1.25, 'order ' || n FROM generate_series(1, 1000) n;`);
});
after(() => Promise.all([postgres?.stop(), service?.stop()]));

const client = (options = {}) =>
  new Fivetran({ apiKey: service.apiKey, apiSecret: service.apiSecret, baseUrl: service.url, ...options });
const definition = (more = {}) => ({
  id: "shop",
  source: { type: "postgres", url: postgres.url, sslmode: "disable" },
  destination: { type: "d1", database: "ANALYTICS_DB" },
  sync: { schedule: "manual", mode: "incremental" },
  ...more,
});
const inD1 = async (sql) => (await (await service.d1("ANALYTICS_DB")).prepare(sql).all()).results;

test("a service binding needs no key if it vouches for its Worker, and only then", async () => {
  const { OWNERS, STRANGERS, BARE } = await service.mf.getBindings();
  const { account_id, user_id } = await new Fivetran({ fetcher: OWNERS }).account.info();
  assert.deepEqual({ account_id, user_id }, { account_id: "account", user_id: "owner" });
  for (const fetcher of [STRANGERS, BARE]) {
    await assert.rejects(new Fivetran({ fetcher }).account.info(), /vouches for nobody/);
    const { apiKey, apiSecret } = service;
    assert.equal((await new Fivetran({ fetcher, apiKey, apiSecret }).account.info()).account_id, "account");
  }
  await assert.rejects(new Fivetran({ fetcher: OWNERS, apiKey: "wrong", apiSecret: "wrong" }).account.info(), sdk.AuthenticationError);
  assert.equal((await fetch(`${service.url}/v1/account/info`)).status, 401);
});

test("a connector moves a table to D1, then its changes, then marks what was deleted", async () => {
  const fivetran = client();
  const completed = [];
  fivetran.onSyncComplete(({ connectorId, rowsSynced }) => completed.push([connectorId, rowsSynced]));
  const connector = fivetran.createConnector(definition());
  const progress = [];
  const first = await connector.sync({ onProgress: (look) => progress.push(look.rows) });
  assert.equal(first.status, "succeeded");
  assert.deepEqual(first.tables.map(({ schema, table, rows }) => [schema, table, rows]), [["shop", "orders", 1000]]);
  assert.equal(progress.at(-1), 1000);

  await postgres.query("UPDATE shop.orders SET note = 'changed' WHERE id <= 10; INSERT INTO shop.orders VALUES (1001, 1, '')");
  assert.equal((await connector.sync()).rowsSynced, 11);
  await postgres.query("DELETE FROM shop.orders WHERE id = 500");
  assert.equal((await connector.resync({ tables: ["shop.orders"] })).rowsDeleted, 1);

  const [row] = await inD1(`SELECT count(*) FILTER (WHERE NOT _fivetran_deleted) AS live,
    count(*) FILTER (WHERE _fivetran_deleted) AS deleted, count(*) FILTER (WHERE note = 'changed') AS changed FROM shop_shop__orders`);
  assert.deepEqual(row, { live: 1000, deleted: 1, changed: 10 });
  assert.deepEqual(completed.map(([id]) => id), ["shop", "shop", "shop"]);
});

test("status, history and log tell of the syncs", async () => {
  const connector = client().createConnector(definition());
  const { status, lastSync, tasks } = await connector.status();
  assert.deepEqual([status, tasks], ["healthy", []]);
  assert.ok(Date.now() - lastSync < 600_000);
  const states = [];
  for await (const run of connector.runs({ limit: 1 })) states.push([run.number, run.state]);
  assert.deepEqual(states, [[1, "SUCCESSFUL"], [2, "SUCCESSFUL"], [3, "SUCCESSFUL"]]);
  const events = [];
  for await (const { event } of connector.logs()) events.push(event);
  for (const event of ["sync_start", "records_modified", "sync_end"]) assert.ok(events.includes(event), event);
});

test("defining it again, from many clients at once, makes no second connection", async () => {
  const connections = await Promise.all(Array.from({ length: 4 }, () => client().createConnector(definition()).ensure()));
  assert.equal(new Set(connections.map(({ id }) => id)).size, 1);
  const fresh = definition({ id: "fresh", destination: { type: "r2", bucket: "LAKE", prefix: "fresh" } });
  const made = await Promise.all(Array.from({ length: 4 }, () => client().createConnector(fresh).ensure()));
  assert.equal(new Set(made.map(({ id }) => id)).size, 1);
  assert.equal((await client().groups.list().all()).filter(({ name }) => name.startsWith("r2_lake_fresh")).length, 1);
});

test("a changed definition changes the connection", async () => {
  const connector = client().createConnector(definition({ sync: { schedule: "every 15 minutes", mode: "full", paused: true } }));
  const { sync_frequency, schedule_type, schedule_phrase, sync_mode, paused, config } = await connector.ensure();
  assert.deepEqual(
    { sync_frequency, schedule_type, schedule_phrase, sync_mode, paused },
    { sync_frequency: 15, schedule_type: "auto", schedule_phrase: "every 15 minutes", sync_mode: "full", paused: true },
  );
  assert.equal(config.url, sdk.MASKED);
  await assert.rejects(connector.sync(), sdk.ConflictError);
  assert.equal((await connector.status()).status, "paused");
});

test("a source that refuses the password is a failed setup test, and mending it is enough", async () => {
  const broken = new URL(postgres.url);
  broken.password = "wrong";
  const source = { type: "postgres", url: broken.href, sslmode: "disable" };
  const error = await client().createConnector(definition({ id: "mended", source })).sync().catch((caught) => caught);
  assert.ok(error instanceof sdk.SetupTestsFailedError, String(error));
  assert.doesNotMatch(error.message, /wrong@/);
  assert.equal((await client().createConnector(definition({ id: "mended" })).ensure()).status.setup_state, "connected");
});

test("what cannot be done is refused by name", async () => {
  const refused = async (more) => client().createConnector(definition({ id: "refused", ...more })).ensure();
  await assert.rejects(refused({ sync: { mode: "cdc" } }), /sync_mode/);
  await assert.rejects(refused({ sync: { schedule: "every 7 minutes" } }), /schedule/);
  await assert.rejects(refused({ source: { type: "postgres", url: postgres.url, colour: "red" } }), /colour/);
  await assert.rejects(refused({ source: { type: "no-such-thing" } }), sdk.FivetranError);
  await assert.rejects(refused({ destination: { type: "d1", database: "NO_SUCH_DB" } }), /NO_SUCH_DB/);
  await assert.rejects(client({ apiSecret: "wrong" }).account.info(), sdk.AuthenticationError);
  assert.deepEqual(await client().connections.list({ schema: "refused" }).all(), []);
});

test("a webhook tells of a sync that somebody else waits for, and its receiver believes nobody else", async (t) => {
  const secret = "of the webhook";
  const webhooks = new sdk.Webhooks({ secret });
  const heard = new Promise((resolve) => webhooks.onSyncComplete(resolve));
  const receiver = createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const event = await webhooks.receive(Buffer.concat(chunks), request.headers[sdk.SIGNATURE_HEADER]).catch((error) => error);
    response.writeHead(event instanceof sdk.WebhookSignatureError ? 401 : 204).end();
  });
  await new Promise((resolve) => receiver.listen(0, "127.0.0.1", resolve));
  t.after(() => receiver.close());
  const url = `http://127.0.0.1:${receiver.address().port}/`;
  const fivetran = client();
  const events = ["sync_end"];
  // It is probed when it is made, and another secret is one that the receiver refuses.
  await assert.rejects(fivetran.webhooks.create({ url, events, secret: "another" }), sdk.InvalidInputError);
  const connector = fivetran.createConnector(definition({ id: "told" }));
  const { id: connectionId, group_id: groupId } = await connector.ensure();
  const { id } = await fivetran.webhooks.create({ url, events, secret }, { groupId });
  assert.equal((await fivetran.webhooks.test(id, "test_event")).succeed, true);
  const { runId } = await connector.sync();
  const told = await heard;
  assert.deepEqual([told.connector_id, told.sync_id, told.data.status], [connectionId, runId, "SUCCESSFUL"]);
  assert.deepEqual((await fivetran.webhooks.list().all()).map((webhook) => [webhook.id, webhook.secret]), [[id, sdk.MASKED]]);
  await fivetran.webhooks.delete(id);
  await assert.rejects(fivetran.webhooks.get(id), sdk.NotFoundError);
});

test("delete forgets the connection and leaves the data", async () => {
  const connector = client().createConnector(definition());
  assert.equal(await connector.delete(), true);
  assert.equal(await connector.delete(), false);
  assert.equal((await inD1("SELECT count(*) AS rows FROM shop_shop__orders"))[0].rows, 1001);
});
