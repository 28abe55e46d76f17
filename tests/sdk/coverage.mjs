// Which operations of an OpenAPI document the SDK's methods reach: every method is called with made-up arguments, and what
// it would send is looked up in the document.
import { Fivetran } from "../../dist/sdk/index.js";

/** Operations without a method, and why. What the service only refuses or has none of is told by its summary. */
export const WITHOUT_A_METHOD = {
  "another name of an operation that has one": [
    "post /v1/certificates",
    "post /v1/connections/{connection_id}/force",
    "post /v1/connections/{connection_id}/schemas/tables/resync",
    "post /v1/connections/{connection_id}/schemas/{schema}/tables/{table}/resync",
  ],
  "for people, browsers and scrapers, without a client": ["get /", "get /healthz", "get /metrics", "get /public/connector-types", "get /v1/openapi.json"],
};

const NOTHING_THERE = /^(There is none|Not supported)/;

/** `"get /v1/groups"` for each operation that a client could want. */
export function operationsOf(document) {
  const all = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ name: `${method} ${path}`, ...operation })));
  return all.filter(({ deprecated, summary }) => !deprecated && !NOTHING_THERE.test(summary)).map(({ name }) => name);
}

/** What the SDK's methods send, as operations of the document; what the document does not have is given as it was sent. */
export async function operationsOfSdk(document) {
  const sent = [];
  const fetch = async (url, { method }) => {
    sent.push([method.toLowerCase(), new URL(url).pathname]);
    return Response.json({ code: "Success", data: { items: [] } });
  };
  const fivetran = new Fivetran({ apiKey: "k", apiSecret: "s", baseUrl: "https://service.example", fetch });
  for (const resource of resourcesOf(fivetran)) {
    for (const name of Object.getOwnPropertyNames(Object.getPrototypeOf(resource))) {
      if (name === "constructor") continue;
      // Ids may be left out, be those of any object, or be in an object of options.
      for (const args of [[], ["xyz", "xyz", "xyz", "xyz"], ["account", {}], [{ group_id: "xyz" }], [{}, { groupId: "xyz" }]]) {
        try {
          const answer = await resource[name](...args);
          if (typeof answer?.page === "function") await answer.page();
        } catch (error) {
          if (error.code !== "InvalidInput" && !(error instanceof TypeError)) throw error;
        }
      }
    }
  }
  return new Set(sent.map(([method, path]) => operation(document, method, path)));
}

function* resourcesOf(object) {
  for (const value of Object.values(object)) {
    if (!/Resource$/.test(value?.constructor?.name)) continue;
    yield value;
    yield* resourcesOf(value);
  }
}

function operation(document, method, path) {
  const fits = (template) => new RegExp(`^${template.replaceAll(/\{\w+\}/g, "[^/]+")}$`).test(path);
  const parameters = (template) => template.split("{").length;
  const [template] = Object.keys(document.paths).filter((one) => fits(one) && document.paths[one][method]).sort((a, b) => parameters(a) - parameters(b));
  return `${method} ${template ?? path}`;
}
