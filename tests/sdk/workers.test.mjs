import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { Miniflare, convertV4MiniflareOptions } from "miniflare";
import { memoryService, tableOf } from "./memory.mjs";

const SDK = fileURLToPath(new URL("../../dist/sdk", import.meta.url));

// A Worker of somebody who uses the SDK: the service is a service binding, destinations are bindings of its own.
const WORKER = `
  import { Fivetran } from "./sdk/index.js";
  export default {
    async fetch(request, env) {
      const fivetran = new Fivetran({ apiKey: "k", apiSecret: "s", fetcher: env.FIVETRAN, env });
      const connectors = [
        fivetran.createConnector({
          id: "to-d1",
          source: { type: "postgres", url: "postgres://db.example/shop" },
          destination: { type: "d1", database: env.ANALYTICS_DB },
        }),
        fivetran.createConnector({
          id: "to-r2",
          source: { type: "postgres", url: "postgres://db.example/shop" },
          destination: { type: "r2", bucket: env.LAKE, prefix: "raw" },
        }),
      ];
      const results = await Promise.all(connectors.map((connector) => connector.sync()));
      return Response.json(results.map(({ status, rowsSynced }) => [status, rowsSynced]));
    },
  };`;

function modules() {
  const files = readdirSync(SDK, { recursive: true }).filter((file) => file.endsWith(".js"));
  const sdk = files.map((file) => ({
    type: "ESModule",
    path: path.join("/", "sdk", file),
    contents: readFileSync(path.join(SDK, file), "utf8"),
  }));
  return [{ type: "ESModule", path: "/worker.js", contents: WORKER }, ...sdk];
}

test("the SDK runs in workerd, reaches the service over a binding, and finds the names of bindings in env", async (t) => {
  const service = await memoryService(t, { run: () => ({ tables: [tableOf("orders", 3)] }) });
  const mf = new Miniflare(
    convertV4MiniflareOptions({
      modules: modules(),
      modulesRoot: "/",
      compatibilityDate: "2026-11-01",
      d1Databases: ["ANALYTICS_DB"],
      r2Buckets: ["LAKE"],
      serviceBindings: {
        FIVETRAN: async (request) => {
          const { pathname, search } = new URL(request.url);
          const body = request.method === "GET" ? undefined : await request.text();
          return fetch(service.url + pathname + search, { method: request.method, headers: request.headers, body });
        },
      },
    }),
  );
  t.after(() => mf.dispose());
  const response = await mf.dispatchFetch("http://localhost/");
  assert.deepEqual(await response.json(), [["succeeded", 3], ["succeeded", 3]]);
  assert.deepEqual(
    [...service.destinations.values()].map(({ config }) => config).sort((a, b) => ("binding" in a ? -1 : 1)),
    [{ binding: "ANALYTICS_DB" }, { bucket: "LAKE", prefix: "raw" }],
  );
});
