import assert from "node:assert/strict";
import { test } from "node:test";
import * as sdk from "../../dist/sdk/index.js";
import { failure, scripted, success } from "./server.mjs";

const { Fivetran } = sdk;
const quick = { initialDelayMs: 1, maxDelayMs: 50 };
const client = (server, options = {}) =>
  new Fivetran({ apiKey: "key", apiSecret: "s€cret", baseUrl: server.url, retry: quick, ...options });

test("the key and secret are sent as Basic authentication in UTF-8", async (t) => {
  const server = await scripted(t, () => success({ account_id: "a" }));
  assert.deepEqual(await client(server).account.info(), { account_id: "a" });
  const [{ headers }] = server.requests;
  assert.equal(headers.authorization, `Basic ${Buffer.from("key:s€cret").toString("base64")}`);
  assert.equal(headers.accept, "application/json;version=2");
  assert.equal(headers["content-type"], undefined);
});

for (const [status, type] of [
  [400, "InvalidInputError"],
  [401, "AuthenticationError"],
  [403, "PermissionError"],
  [404, "NotFoundError"],
  [409, "ConflictError"],
  [413, "InvalidInputError"],
  [500, "ServerError"],
]) {
  test(`a ${status} is a ${type} with code, message and request id`, async (t) => {
    const server = await scripted(t, () => failure(status, "Some_Code", "What happened.", { "x-request-id": "r-1" }));
    const error = await client(server, { retry: { retries: 0 } }).connections.get("x").catch((caught) => caught);
    assert.ok(error instanceof sdk[type] && error instanceof sdk.FivetranError);
    const { name, message, code, requestId, request } = error;
    assert.deepEqual(
      { name, message, code, requestId, request, status: error.status },
      { name: type, message: "What happened.", code: "Some_Code", requestId: "r-1", request: "GET /v1/connections/x", status },
    );
  });
}

test("a 5xx and a cut connection are tried again, and a creation under one key, so that it is one", async (t) => {
  const answers = [failure(503, "Busy", "Busy."), { cut: true }, failure(409, "IdempotencyKeyInUse", "Being served.", { "retry-after": "1" })];
  const server = await scripted(t, ({ count }) => answers[count - 1] ?? success({ id: "g" }));
  assert.equal((await client(server).groups.create({ name: "n" })).id, "g");
  const keys = server.requests.map(({ headers }) => headers["idempotency-key"]);
  assert.match(keys[0], /^[0-9a-f]{32}$/);
  assert.deepEqual(keys, [keys[0], keys[0], keys[0], keys[0]]);
  await client(server).groups.create({ name: "n" });
  assert.notEqual(server.requests.at(-1).headers["idempotency-key"], keys[0], "another creation");
  await client(server).groups.create({ name: "n" }, { idempotencyKey: "mine" });
  assert.equal(server.requests.at(-1).headers["idempotency-key"], "mine");
});

test("what is as good twice as once is tried again without a key", async (t) => {
  const server = await scripted(t, ({ count }) => (count % 2 ? { cut: true } : success({ run_id: "r" })));
  const fivetran = client(server);
  for (const call of [() => fivetran.connections.sync("c"), () => fivetran.groups.get("g"), () => fivetran.groups.delete("g")]) await call();
  assert.equal(server.requests.length, 6);
  assert.ok(server.requests.every(({ headers }) => headers["idempotency-key"] === undefined));
});

test("a refusal is not tried again: a conflict, bad input, what is not supported", async (t) => {
  const server = await scripted(t, ({ count }) => [failure(409, "Conflict", "Taken."), failure(400, "InvalidInput", "No."), failure(400, "NotSupported", "Never.")][count - 1]);
  for (const type of [sdk.ConflictError, sdk.InvalidInputError, sdk.NotSupportedError]) {
    await assert.rejects(client(server).groups.create({ name: "n" }), type);
  }
  assert.equal(server.requests.length, 3);
});

test("a 429 is tried again after Retry-After, whatever the method", async (t) => {
  const server = await scripted(t, ({ count }) =>
    count === 1 ? failure(429, "TooManyRequests", "Slow down.", { "retry-after": "0" }) : success({ id: "g" }),
  );
  assert.equal((await client(server).groups.create({ name: "n" })).id, "g");
  assert.equal(server.requests.length, 2);
});

test("a Retry-After beyond the longest delay is not waited for", async (t) => {
  const server = await scripted(t, () => failure(429, "TooManyRequests", "Slow down.", { "retry-after": "3600" }));
  const error = await client(server).account.info().catch((caught) => caught);
  assert.ok(error instanceof sdk.RateLimitError);
  assert.equal(error.retryAfterMs, 3_600_000);
  assert.equal(server.requests.length, 1);
});

test("retries end, and the last error is thrown", async (t) => {
  const server = await scripted(t, () => failure(502, "Bad", "Bad."));
  await assert.rejects(client(server).account.info(), sdk.ServerError);
  assert.equal(server.requests.length, 4);
});

test("a try that takes too long is a TimeoutError", async (t) => {
  const server = await scripted(t, () => ({ hang: true }));
  const options = { timeoutMs: 30 };
  const error = await client(server, { retry: { retries: 0 } }).account.info(options).catch((caught) => caught);
  assert.ok(error instanceof sdk.TimeoutError);
  assert.match(error.message, /30 ms/);
});

test("a page that takes too long is a TimeoutError, and a caller's signal ends a listing", async (t) => {
  const server = await scripted(t, () => ({ hang: true }));
  const fivetran = client(server, { retry: { retries: 0 } });
  for (const list of [fivetran.groups, fivetran.webhooks, fivetran.users, fivetran.roles]) {
    await assert.rejects(list.list({ timeoutMs: 30 }).all(), sdk.TimeoutError);
  }
  await assert.rejects(fivetran.connections.list({ signal: AbortSignal.timeout(30) }).all(), { name: "TimeoutError", message: /aborted due to timeout/ });
});

test("the caller's signal ends a request and a wait between tries with its own reason", async (t) => {
  const server = await scripted(t, ({ count }) => (count === 1 ? { hang: true } : failure(503, "Busy", "Busy.")));
  const reason = new Error("changed my mind");
  for (const retry of [{}, { initialDelayMs: 10_000 }]) {
    const controller = new AbortController();
    setTimeout(() => controller.abort(reason), 20);
    await assert.rejects(client(server, { retry }).account.info({ signal: controller.signal }), reason);
  }
  await assert.rejects(client(server).account.info({ signal: AbortSignal.abort(reason) }), reason);
});

test("an answer that is not the service's says so", async (t) => {
  const server = await scripted(t, () => ({ body: "<html>a proxy</html>" }));
  await assert.rejects(client(server, { retry: { retries: 0 } }).account.info(), /base URL/);
});

test("ids and names are escaped, and an empty one never addresses the collection", async (t) => {
  const server = await scripted(t, () => success({}));
  const fivetran = client(server);
  await fivetran.connections.schemas.updateTable("c", "my schema", "a/b?c", { enabled: false });
  assert.equal(server.requests[0].url.pathname, "/v1/connections/c/schemas/my%20schema/tables/a%2Fb%3Fc");
  for (const id of ["", ".", ".."]) assert.throws(() => fivetran.connections.delete(id), sdk.InvalidInputError);
  assert.equal(server.requests.length, 1);
});

test("a listing fetches pages as it goes, and no more than asked for", async (t) => {
  const pages = { "": ["a", "b"], two: ["c"], three: [] };
  const next = { "": "two", two: "three", three: null };
  const server = await scripted(t, ({ url }) => {
    const cursor = url.searchParams.get("cursor") ?? "";
    return success({ items: pages[cursor].map((id) => ({ id })), next_cursor: next[cursor] });
  });
  const fivetran = client(server);
  const ids = [];
  for await (const group of fivetran.groups.list({ limit: 2 })) ids.push(group.id);
  assert.deepEqual(ids, ["a", "b", "c"]);
  assert.equal(server.requests[0].url.searchParams.get("limit"), "2");
  assert.equal(server.requests.length, 3);
  assert.equal((await fivetran.groups.list().all(2)).length, 2);
  assert.equal(server.requests.length, 4);
  assert.deepEqual((await fivetran.groups.list({ cursor: "two" }).page()).items, [{ id: "c" }]);
});

test("what has no method of its own is asked for by its path", async (t) => {
  const server = await scripted(t, ({ url }) => success({ items: [], path: url.pathname + url.search }));
  const found = await client(server).request({ method: "GET", path: "/v1/private-links", query: { limit: 5 } });
  assert.equal(found.path, "/v1/private-links?limit=5");
});

test("a service binding is called as a method, and needs no base URL", async () => {
  const binding = {
    answer: { code: "Success", data: { account_id: "bound" } },
    async fetch(url) {
      assert.equal(new URL(url).pathname, "/v1/account/info");
      return Response.json(this.answer);
    },
  };
  const fivetran = new Fivetran({ apiKey: "k", apiSecret: "s", fetcher: binding });
  assert.equal((await fivetran.account.info()).account_id, "bound");
});

test("a service binding that vouches for its Worker needs no key, and one that does not says what to do", async () => {
  const sent = [];
  const binding = (answer) => ({ fetch: async (_url, { headers }) => (sent.push(headers), answer()) });
  const vouching = binding(() => Response.json({ code: "Success", data: { account_id: "bound" } }));
  assert.equal((await new Fivetran({ fetcher: vouching }).account.info()).account_id, "bound");
  assert.ok(!("authorization" in sent[0]));
  const refusing = binding(() => Response.json({ code: "AuthFailed", message: "Missing authorization header" }, { status: 401 }));
  await assert.rejects(new Fivetran({ fetcher: refusing }).account.info(), (error) => {
    assert.ok(error instanceof sdk.AuthenticationError);
    assert.match(error.message, /props = \{ caller = "owner" \}.*apiKey/);
    return error.status === 401 && error.code === "AuthFailed";
  });
  // A variable that is not set is a mistake, not a wish to go without.
  assert.throws(() => new Fivetran({ fetcher: vouching, apiKey: "k", apiSecret: undefined }), /apiKey and apiSecret/);
  assert.throws(() => new Fivetran({ fetcher: vouching, apiKey: "", apiSecret: "" }), /apiKey and apiSecret/);
  assert.throws(() => new Fivetran({ baseUrl: "https://fivetran.example" }), /apiKey and apiSecret/);
});

test("a base URL may end in /v1 or a slash, and a wrong one is refused at once", async (t) => {
  const server = await scripted(t, () => success({}));
  for (const end of ["", "/", "/v1", "/v1/"]) await client({ url: server.url + end }).account.info();
  assert.deepEqual(new Set(server.requests.map(({ url }) => url.pathname)), new Set(["/v1/account/info"]));
  for (const url of ["example.com", "ftp://example.com", "http://key:secret@example.com"]) {
    assert.throws(() => client({ url }), sdk.InvalidInputError);
  }
  assert.throws(() => new Fivetran({ apiKey: "k", apiSecret: "s" }), /baseUrl/);
  assert.throws(() => new Fivetran({ apiKey: "", apiSecret: "s", baseUrl: server.url }), /apiKey/);
});

test("secrets are in no error and in no printed client", async (t) => {
  const { inspect } = await import("node:util");
  const server = await scripted(t, () => failure(401, "AuthFailed", "Invalid authorization credentials"));
  const fivetran = client(server);
  const error = await fivetran.account.info().catch((caught) => caught);
  for (const text of [inspect(error, { depth: 9 }), inspect(fivetran, { depth: 9, showHidden: true })]) {
    assert.doesNotMatch(text, /s€cret|Basic/);
  }
});
