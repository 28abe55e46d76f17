// Who may do what, how often, and how many times: on the real service, where these rest on D1, on the isolate's memory and
// on workerd's own headers. The whole table of routes against every role is in tests/api/rights.rs.
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { after, before, test } from "node:test";
import { startService } from "../../scripts/dev/service.mjs";
import { DATABASE } from "./support/landed.mjs";

/** Requests an hour: more than the root key needs here, few enough for another key to use up. */
const ALLOWANCE = 150;
const ORIGIN = "https://console.example";

let service;
let lake;
let pond;

before(async () => {
  const configure = (worker) => Object.assign(worker.bindings, { FIVETRAN_RATE_LIMIT: String(ALLOWANCE), FIVETRAN_ALLOWED_ORIGINS: ORIGIN });
  service = await startService({ configure });
  [lake, pond] = await Promise.all(["lake", "pond"].map(async (name) => (await ok("POST", "/v1/groups", { name })).id));
});
after(() => service?.stop());

const root = () => ({ key: service.apiKey, secret: service.apiSecret });

/** A request as somebody. */
async function as({ key, secret }, method, path, body, headers = {}) {
  const authorization = `Basic ${Buffer.from(`${key}:${secret}`).toString("base64")}`;
  const init = { method, headers: { authorization, ...headers } };
  if (body !== undefined) Object.assign(init, { body: JSON.stringify(body), headers: { ...init.headers, "content-type": "application/json" } });
  const response = await fetch(service.url + path, init);
  return { status: response.status, headers: response.headers, body: await response.json() };
}

async function ok(method, path, body) {
  const { status, body: answer } = await as(root(), method, path, body);
  assert.ok(status < 300, `${method} ${path}: ${status} ${JSON.stringify(answer)}`);
  return answer.data;
}

const refused = ({ status, body }, expected, code) => assert.deepEqual([status, body.code, body.data], [expected, code, undefined]);
const names = ({ body }) => body.data.items.map(({ name }) => name).sort();

test("a key that may read sees and changes nothing, and one for a group knows of no other", async () => {
  const permission = (resource_type, access_level, resource_filter) => ({ resource_type, access_level, resource_filter });
  const reader = await ok("POST", "/v1/system-keys", { name: "reader", permissions: [permission("DESTINATION", "READ")] });
  assert.deepEqual(names(await as(reader, "GET", "/v1/groups")), ["lake", "pond"]);
  refused(await as(reader, "PATCH", `/v1/groups/${lake}`, { name: "mine" }), 403, "Forbidden");
  refused(await as(reader, "DELETE", `/v1/groups/${lake}`), 403, "Forbidden");
  refused(await as(reader, "POST", "/v1/groups", { name: "mine" }), 403, "Forbidden");
  refused(await as(reader, "GET", "/v1/system-keys"), 403, "Forbidden");

  const one = await ok("POST", "/v1/system-keys", { name: "one", permissions: [permission("DESTINATION", "MANAGE", { group_ids: [lake] })] });
  assert.deepEqual(names(await as(one, "GET", "/v1/groups")), ["lake"]);
  assert.equal((await as(one, "PATCH", `/v1/groups/${lake}`, { name: "lake" })).status, 200);
  refused(await as(one, "PATCH", `/v1/groups/${pond}`, { name: "mine" }), 403, "Forbidden");

  const turned = await ok("POST", `/v1/system-keys/${one.id}/rotate`, {});
  refused(await as(one, "GET", "/v1/groups"), 401, "AuthFailed");
  assert.equal((await as(turned, "GET", "/v1/groups")).status, 200);
  await ok("DELETE", `/v1/system-keys/${one.id}`);
  refused(await as(turned, "GET", "/v1/groups"), 401, "AuthFailed");
  assert.deepEqual(names(await as(root(), "GET", "/v1/groups")), ["lake", "pond"], "nothing was changed");
});

test("a user may do what their roles say, from the moment they have them until they are switched off", async () => {
  const { id } = await ok("POST", "/v1/users", { email: "ada@example.com", given_name: "Ada", family_name: "L" });
  const ada = await ok("POST", `/v1/users/${id}/api-key`, {});
  refused(await as(ada, "GET", "/v1/groups"), 403, "Forbidden");
  await ok("POST", `/v1/users/${id}/groups`, { id: lake, role: "Destination Reviewer" });
  assert.deepEqual(names(await as(ada, "GET", "/v1/groups")), ["lake"]);
  const destination = { group_id: lake, service: "d1", region: "LOCAL", time_zone_offset: "0", config: { binding: DATABASE } };
  refused(await as(ada, "POST", "/v1/destinations", destination), 403, "Forbidden");
  await ok("PATCH", `/v1/users/${id}/groups/${lake}`, { role: "Destination Administrator" });
  assert.equal((await as(ada, "POST", "/v1/destinations", destination)).status, 201);
  refused(await as(ada, "PATCH", `/v1/users/${id}`, { role: "Account Administrator" }), 403, "Forbidden");
  await ok("PATCH", `/v1/users/${id}`, { active: false });
  refused(await as(ada, "GET", "/v1/groups"), 401, "AuthFailed");
});

test("one account sees nothing of another's, and cannot tell it from nothing", async () => {
  const eve = { key: "eve", secret: randomBytes(16).toString("hex") };
  const db = await service.d1("DB");
  const hash = createHash("sha256").update(eve.secret).digest("hex");
  await db.batch([
    db.prepare("INSERT INTO accounts (id, name, created_at) VALUES ('other', 'Other', 1)"),
    db.prepare("INSERT INTO users (id, account_id, email, given_name, family_name, role, created_at) VALUES ('eve', 'other', 'e@example.com', 'E', 'E', 'Account Administrator', 1)"),
    db.prepare("INSERT INTO api_keys (id, account_id, user_id, api_key, secret_sha256, name, created_at) VALUES ('eve', 'other', 'eve', 'eve', ?1, 'eve', 1)").bind(hash),
  ]);
  for (const list of ["groups", "destinations", "connections", "webhooks", "system-keys", "teams"]) {
    assert.deepEqual((await as(eve, "GET", `/v1/${list}`)).body.data.items, [], list);
  }
  const theirs = await as(eve, "GET", `/v1/groups/${lake}`);
  const nothing = await as(eve, "GET", `/v1/groups/${"x".repeat(lake.length)}`);
  refused(theirs, 404, "NotFound_Group");
  assert.equal(theirs.body.message.replace(lake, ""), nothing.body.message.replace("x".repeat(lake.length), ""));
  refused(await as(eve, "PATCH", `/v1/groups/${lake}`, { name: "mine" }), 404, "NotFound_Group");
  refused(await as(eve, "DELETE", `/v1/destinations/${lake}`), 404, "NotFound_Destination");
  assert.equal((await as(eve, "POST", "/v1/groups", { name: "lake" })).status, 201, "names are each account's own");
});

test("a creation sent again under its key is one creation, whoever repeats it and however fast", async () => {
  const key = { "idempotency-key": randomBytes(8).toString("hex") };
  const create = (name, headers = key) => as(root(), "POST", "/v1/groups", { name }, headers);
  const together = await Promise.all(Array.from({ length: 6 }, () => create("once")));
  for (const answer of together) {
    if (answer.status === 201) continue;
    refused(answer, 409, "IdempotencyKeyInUse");
    assert.equal(answer.headers.get("retry-after"), "1");
  }
  const made = new Set(together.filter(({ status }) => status === 201).map(({ body }) => body.data.id));
  assert.equal(made.size, 1);
  const again = await create("once");
  assert.deepEqual([again.status, again.headers.get("idempotent-replayed"), made.has(again.body.data.id)], [201, "true", true]);
  refused(await create("another"), 422, "IdempotencyKeyReused");
  refused(await create("once", {}), 409, "Conflict");
  assert.equal(names(await as(root(), "GET", "/v1/groups")).filter((name) => name === "once").length, 1);
});

test("a key that asks too much is told when to come back, and the others are served", async () => {
  const busy = await ok("POST", "/v1/system-keys", { name: "busy", permissions: [{ resource_type: "DESTINATION", access_level: "READ" }] });
  const first = await as(busy, "GET", "/v1/roles");
  assert.deepEqual([first.headers.get("x-rate-limit"), first.headers.get("x-rate-limit-remaining")], [String(ALLOWANCE), String(ALLOWANCE - 1)]);
  const answers = await Promise.all(Array.from({ length: ALLOWANCE + 5 }, () => as(busy, "GET", "/v1/roles")));
  const last = answers.find(({ status }) => status === 429);
  refused(last, 429, "TooManyRequests");
  const wait = Number(last.headers.get("retry-after"));
  assert.ok(Number.isInteger(wait) && wait >= 1 && wait <= 3600 / ALLOWANCE, `Retry-After: ${wait}`);
  assert.equal(last.headers.get("x-rate-limit-remaining"), "0");
  const served = answers.filter(({ status }) => status === 200).length;
  // The bucket refills while the requests are under way.
  assert.ok(served >= ALLOWANCE - 1 && served <= ALLOWANCE + 3, `${served} were served`);
  assert.equal((await as(root(), "GET", "/v1/groups")).status, 200);
});

test("a page of a listed origin may call, and no other may", async () => {
  const preflight = (origin) => fetch(`${service.url}/v1/groups`, { method: "OPTIONS", headers: { origin, "access-control-request-method": "POST" } });
  const allowed = await preflight(ORIGIN);
  assert.deepEqual([allowed.status, allowed.headers.get("access-control-allow-origin")], [200, ORIGIN]);
  assert.match(allowed.headers.get("access-control-allow-headers"), /authorization/i);
  assert.equal((await preflight("https://evil.example")).headers.get("access-control-allow-origin"), null);
  const answer = await as(root(), "GET", "/v1/groups", undefined, { origin: ORIGIN });
  assert.deepEqual([answer.status, answer.headers.get("access-control-allow-origin")], [200, ORIGIN]);
});
