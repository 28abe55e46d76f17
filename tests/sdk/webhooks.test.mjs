import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { test } from "node:test";
import { WebhookSignatureError, Webhooks, verifyWebhook } from "../../dist/sdk/index.js";

const SECRET = "a secret of the webhook";
const event = (status) => JSON.stringify({ event: "sync_end", created: "2026-11-23T20:00:00Z", connector_id: "abc", connector_name: "shop ü", sync_id: "abc.1", data: { status } });
const sign = (body, secret = SECRET) => createHmac("sha256", secret).update(body).digest("hex");
const post = (body, signature) =>
  new Request("https://receiver.example", { method: "POST", body, headers: signature ? { "X-Fivetran-Signature-256": signature } : {} });

test("an event with a right signature is given, whatever its case", async () => {
  const body = event("SUCCESSFUL");
  for (const signature of [sign(body), sign(body).toUpperCase()]) {
    assert.equal((await verifyWebhook(body, signature, SECRET)).connector_name, "shop ü");
  }
  assert.equal((await verifyWebhook(new TextEncoder().encode(body), sign(body), SECRET)).sync_id, "abc.1");
});

test("what is not signed with the secret is refused", async () => {
  const body = event("SUCCESSFUL");
  const refused = [
    [body, sign(body, "another")],
    [body.replace("SUCCESSFUL", "FAILURE"), sign(body)],
    [body, undefined],
    [body, ""],
    [body, `sha256=${sign(body)}`],
    [body, sign(body).slice(2)],
    [body, `${sign(body)}00`],
    [`${body} `, sign(body)],
  ];
  for (const [given, signature] of refused) {
    await assert.rejects(verifyWebhook(given, signature, SECRET), WebhookSignatureError);
  }
  // A secret that was forgotten must not let everybody in.
  await assert.rejects(verifyWebhook(body, createHmac("sha256", "").update(body).digest("hex"), ""), WebhookSignatureError);
});

test("listeners hear of the syncs that succeeded or failed, and of nothing unsigned", async () => {
  const webhooks = new Webhooks({ secret: SECRET });
  const heard = [];
  webhooks.onEvent(({ data }) => heard.push(["event", data.status]));
  webhooks.onSyncComplete(({ data }) => heard.push(["complete", data.status]));
  const stop = webhooks.onSyncError(({ data }) => heard.push(["error", data.status]));
  const deliver = async (status, signature) => (await webhooks.handle(post(event(status), signature ?? sign(event(status))))).status;
  assert.equal(await deliver("SUCCESSFUL"), 204);
  assert.equal(await deliver("FAILURE_WITH_TASK"), 204);
  assert.equal(await deliver("CANCELED"), 204);
  assert.equal(await deliver("FAILURE", sign("something else")), 401);
  stop();
  assert.equal(await deliver("FAILURE"), 204);
  assert.deepEqual(heard, [
    ["event", "SUCCESSFUL"], ["complete", "SUCCESSFUL"],
    ["event", "FAILURE_WITH_TASK"], ["error", "FAILURE_WITH_TASK"],
    ["event", "CANCELED"],
    ["event", "FAILURE"],
  ]);
  assert.equal((await webhooks.handle(new Request("https://receiver.example"))).status, 405);
  assert.equal((await webhooks.handle(post("[1]", sign("[1]")))).status, 400);
});
