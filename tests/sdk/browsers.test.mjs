// The SDK as one bundle in a realm that has what browsers, Bun and Deno have in common, and nothing of Node's.
import assert from "node:assert/strict";
import path from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import vm from "node:vm";
import { build } from "esbuild";
import { failure, scripted, success } from "./server.mjs";

const entryPoint = fileURLToPath(new URL("../../dist/sdk/index.js", import.meta.url));

/** All there is, besides the language. */
const WEB = ["fetch", "URL", "URLSearchParams", "TextEncoder", "TextDecoder", "AbortController", "AbortSignal", "DOMException", "Request", "Response", "Headers", "btoa", "atob", "setTimeout", "clearTimeout"];

async function realm() {
  // For browsers esbuild refuses every module of Node.
  const { outputFiles } = await build({ entryPoints: [entryPoint], bundle: true, write: false, platform: "browser", format: "iife", globalName: "sdk", logLevel: "silent" });
  // On a page that is not https there is no `crypto.randomUUID`.
  const crypto = { getRandomValues: (bytes) => globalThis.crypto.getRandomValues(bytes), subtle: globalThis.crypto.subtle };
  const context = vm.createContext({ crypto, ...Object.fromEntries(WEB.map((name) => [name, globalThis[name]])) });
  vm.runInContext(outputFiles[0].text, context, { filename: path.basename(entryPoint) });
  assert.equal(vm.runInContext("typeof process + typeof require + typeof Buffer", context), "undefinedundefinedundefined");
  return context;
}

test("the SDK needs nothing of Node: requests, retries, pages, time limits and webhook signatures work without it", async (t) => {
  const context = await realm();
  const server = await scripted(t, ({ method, url, count }) => {
    if (method === "POST") return count === 1 ? failure(503, "Busy", "Busy.") : success({ id: "g" });
    const second = url.searchParams.get("cursor");
    return success({ items: [{ name: second ? "b" : "a" }], next_cursor: second ? null : "two" });
  });
  context.baseUrl = server.url;
  const told = await vm.runInContext(
    `(async () => {
      const fivetran = new sdk.Fivetran({ apiKey: "key", apiSecret: "s€cret", baseUrl, retry: { initialDelayMs: 1 } });
      const { id } = await fivetran.groups.create({ name: "n" });
      const names = [];
      for await (const { name } of fivetran.groups.list()) names.push(name);
      const key = await crypto.subtle.importKey("raw", new TextEncoder().encode("secret"), { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
      const body = JSON.stringify({ event: "sync_end", data: { status: "SUCCESSFUL" } });
      const bytes = new Uint8Array(await crypto.subtle.sign("HMAC", key, new TextEncoder().encode(body)));
      const signature = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("").toUpperCase();
      const { event } = await sdk.verifyWebhook(body, signature, "secret");
      const forged = await sdk.verifyWebhook(body, signature, "another").catch((error) => error.name);
      return [id, names.join(), event, forged].join(" ");
    })()`,
    context,
  );
  assert.equal(told, "g a,b sync_end WebhookSignatureError");
  assert.equal(server.requests[0].headers["idempotency-key"], server.requests[1].headers["idempotency-key"]);
});
