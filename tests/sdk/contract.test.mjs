import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { startService } from "../../scripts/dev/service.mjs";
import { differences } from "./contract.mjs";
import { WITHOUT_A_METHOD, operationsOf, operationsOfSdk } from "./coverage.mjs";

let service;
before(async () => {
  service = await startService();
});
after(() => service?.stop());

test("the SDK's types are those of the OpenAPI document the service serves", async () => {
  const document = await (await fetch(`${service.url}/v1/openapi.json`)).json();
  assert.equal(differences(document), "");
});

test("a difference in names, values or presence is found and named", async () => {
  const document = await (await fetch(`${service.url}/v1/openapi.json`)).json();
  const envelope = document.paths["/v1/groups/{group_id}"].get.responses["200"].content["application/json"].schema;
  const group = document.components.schemas[envelope.properties.data.$ref.split("/").at(-1)];
  group.properties.colour = { type: "string" };
  delete group.properties.name;
  group.required = ["id"];
  const found = differences(document);
  for (const clue of [/Group and get .*unknownToSdk.*"colour"/, /unknownToService.*"name"/, /Group and get .*answered/]) assert.match(found, clue);
});

test("every operation of the document has a method or a reason, and every method has an operation", async () => {
  const document = await (await fetch(`${service.url}/v1/openapi.json`)).json();
  const [offered, sent] = [operationsOf(document), await operationsOfSdk(document)];
  assert.deepEqual(offered.filter((name) => !sent.has(name)).sort(), Object.values(WITHOUT_A_METHOD).flat().sort());
  assert.deepEqual([...sent].filter((name) => !offered.includes(name)), []);
});
