// The SDK's types against an OpenAPI document: the document is written out as TypeScript, and the compiler compares.
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** Answers: SDK type, operation, and where in `data` the object is. */
export const ANSWERS = [
  ["AccountInfo", "get /v1/account/info"],
  ["Group", "get /v1/groups/{group_id}"],
  ["Page<Group>", "get /v1/groups"],
  ["Destination", "get /v1/destinations/{destination_id}"],
  ["Connection", "get /v1/connections/{connection_id}"],
  ["ConnectionState", "get /v1/connections/{connection_id}/state"],
  ["Certificate", "get /v1/connections/{connection_id}/certificates/{hash}"],
  ["SchemaConfig", "get /v1/connections/{connection_id}/schemas"],
  ["Run", "get /v1/connections/{connection_id}/runs/{run_id}"],
  ["RunProgress", "get /v1/connections/{connection_id}/progress", "run"],
  ["StartedSync", "post /v1/connections/{connection_id}/sync"],
  ["StartedSync", "post /v1/connections/{connection_id}/resync"],
  ["Reconciliation", "post /v1/connections/{connection_id}/reconcile"],
  ["Page<LogEvent>", "get /v1/connections/{connection_id}/logs"],
  ["Page<SchemaVersion>", "get /v1/connections/{connection_id}/schema-versions"],
  ["ConnectorType", "get /v1/metadata/connector-types/{service}"],
  ["Webhook", "get /v1/webhooks/{webhook_id}"],
  ["WebhookTest", "post /v1/webhooks/{webhook_id}/test"],
  ["Page<WebhookDelivery>", "get /v1/webhooks/{webhook_id}/deliveries"],
  ["Page<LogService>", "get /v1/external-logging"],
  ["LogServiceDetails", "get /v1/external-logging/{log_id}"],
  ["LogServiceTest", "post /v1/external-logging/{log_id}/test"],
  ["Transformation", "get /v1/transformations/{transformation_id}"],
  ["TransformationProject", "get /v1/transformation-projects/{project_id}"],
  ["Page<MetadataObject>", "get /v1/metadata/connectors/{connection_id}/tables"],
  ["Page<MetadataColumn>", "get /v1/metadata/connectors/{connection_id}/columns"],
  ["Page<User>", "get /v1/groups/{group_id}/users"],
  ["User", "get /v1/users/{user_id}"],
  ["UserKey", "post /v1/users/{user_id}/api-key"],
  ["Page<Membership>", "get /v1/users/{user_id}/groups"],
  ["Membership", "patch /v1/teams/{team_id}/connections/{connection_id}"],
  ["Team", "get /v1/teams/{team_id}"],
  ["TeamMember", "get /v1/teams/{team_id}/users/{user_id}"],
  ["Page<Role>", "get /v1/roles"],
  ["SystemKey", "get /v1/system-keys/{key_id}"],
  ["{ items: VaultKey[] }", "get /v1/vault/keys"],
  ["Resealed", "post /v1/vault/reseal"],
];

/** Bodies. The service takes more of Fivetran's fields than the SDK offers. */
export const BODIES = [
  ["Pick<Group, 'name'>", "post /v1/groups"],
  ["NewDestination", "post /v1/destinations"],
  ["DestinationPatch", "patch /v1/destinations/{destination_id}"],
  ["NewConnection", "post /v1/connections"],
  ["ConnectionPatch", "patch /v1/connections/{connection_id}"],
  ["ConnectionState", "patch /v1/connections/{connection_id}/state"],
  ["{ scope?: Scope }", "post /v1/connections/{connection_id}/resync"],
  ["{ force?: boolean }", "post /v1/connections/{connection_id}/sync"],
  ["ReconcileRequest", "post /v1/connections/{connection_id}/reconcile"],
  ["NewCertificate", "post /v1/connections/{connection_id}/certificates"],
  ["SchemaConfigPatch", "patch /v1/connections/{connection_id}/schemas"],
  ["NewWebhook", "post /v1/webhooks/group/{group_id}"],
  ["WebhookPatch", "patch /v1/webhooks/{webhook_id}"],
  ["NewLogService", "post /v1/external-logging"],
  ["LogServicePatch", "patch /v1/external-logging/{log_id}"],
  ["TransformationFields", "post /v1/transformations"],
  ["TransformationProjectFields", "patch /v1/transformation-projects/{project_id}"],
  ["NewUser", "post /v1/users"],
  ["UserPatch", "patch /v1/users/{user_id}"],
  ["GroupUser", "post /v1/groups/{group_id}/users"],
  ["NewMembership", "post /v1/teams/{team_id}/groups"],
  ["Pick<Membership, 'role'>", "patch /v1/users/{user_id}/connections/{connection_id}"],
  ["NewTeam", "post /v1/teams"],
  ["TeamPatch", "patch /v1/teams/{team_id}"],
  ["NewTeamMember", "post /v1/teams/{team_id}/users"],
  ["Pick<TeamMember, 'role'>", "patch /v1/teams/{team_id}/users/{user_id}"],
  ["NewSystemKey", "post /v1/system-keys"],
  ["SystemKeyPatch", "patch /v1/system-keys/{key_id}"],
  ["{ cursor?: string }", "post /v1/vault/reseal"],
  ["{ expiration_period?: KeyPeriod }", "post /v1/system-keys/{key_id}/rotate"],
];

const HELPERS = `
// Where the document says only "string", the SDK may name the values it knows.
type Adapt<G, S> = unknown extends G ? S : string extends G ? (S extends string ? S : G)
  : G extends readonly (infer GI)[] ? (S extends readonly (infer SI)[] ? Adapt<GI, SI>[] : G)
  : G extends object ? { [K in keyof G]: K extends keyof S ? Adapt<G[K], NonNullable<S[K]>> : G[K] } : G
type Full<T> = unknown extends T ? unknown : T extends readonly (infer I)[] ? Full<I>[]
  : T extends object ? { [K in keyof T]-?: Full<NonNullable<T[K]>> } : T
type Paths<T> = unknown extends T ? never : T extends readonly (infer I)[] ? Paths<NonNullable<I>>
  : T extends object ? string extends keyof T ? Paths<NonNullable<T[keyof T]>>
    : { [K in keyof T & string]: K | \`\${K}.\${Paths<NonNullable<T[K]>>}\` }[keyof T & string] : never
declare function give<T>(): T
`;

/** What the compiler finds, as text; empty when all types agree. */
export function differences(document) {
  const generated = ["import type * as sdk from '@sdk'", HELPERS, components(document)];
  for (const [type, operation, pointer] of ANSWERS) {
    const envelope = operationOf(document, operation, (found) => Object.values(found.responses)[0]);
    const data = envelope && follow(document, envelope.properties?.data, pointer);
    generated.push(comparison(type, operation, data, "answer"));
  }
  for (const [type, operation] of BODIES) {
    const body = operationOf(document, operation, (found) => found.requestBody);
    generated.push(comparison(type, operation, body, "body"));
  }
  return compile(generated.join("\n"));
}

function operationOf(document, operation, part) {
  const [method, route] = operation.split(" ");
  const found = document.paths[route]?.[method];
  return found && part(found)?.content["application/json"].schema;
}

function follow(document, schema, pointer) {
  if (!pointer || !schema) return schema;
  return resolve(document, schema).properties[pointer];
}

const resolve = (document, schema) =>
  schema.$ref ? document.components.schemas[schema.$ref.split("/").at(-1)] : schema;

function comparison(type, operation, schema, kind) {
  const name = `${type} and ${operation}`;
  if (!schema) {
    return `{ // ${name}\n  const missing: 'the document has no such ${kind}' = give<${JSON.stringify(operation)}>()\n  void missing\n}`;
  };
  const sdk = type.replaceAll(/\b[A-Z]\w+(?=[<>},\s]|$)/g, (word) => (word === "Pick" ? word : `sdk.${word}`));
  const lines = [
    `{ // ${name}`,
    `  type S = ${sdk}`,
    `  type G = NonNullable<${typescript(schema)}>`,
    `  const unknownToService: never = give<Exclude<Paths<S>, Paths<G>>>()`,
  ];
  if (kind === "answer") {
    lines.push(
      `  const unknownToSdk: never = give<Exclude<Paths<G>, Paths<S>>>()`,
      `  const answered: S = give<Adapt<G, S>>()`,
      `  const valuesOfService: Full<S> = give<Adapt<Full<G>, Full<S>>>()`,
      `  const valuesOfSdk: Adapt<Full<G>, Full<S>> = give<Full<S>>()`,
      `  void [unknownToSdk, answered, valuesOfService, valuesOfSdk]`,
    );
  } else {
    lines.push(`  const sent: G = give<S>()`, `  void sent`);
  }
  return [...lines, "  void unknownToService", "}"].join("\n");
}

function components(document) {
  const schemas = Object.entries(document.components.schemas);
  return `interface C {\n${schemas.map(([name, schema]) => `  ${JSON.stringify(name)}: ${typescript(schema)}`).join("\n")}\n}`;
}

/** A JSON schema as a TypeScript type. */
export function typescript(schema) {
  if (schema === undefined || schema === true) return "unknown";
  if (schema.$ref) return `C[${JSON.stringify(schema.$ref.split("/").at(-1))}]`;
  if ("const" in schema) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  const alternatives = schema.anyOf ?? schema.oneOf;
  if (alternatives) return `(${alternatives.map(typescript).join(" | ")})`;
  if (schema.allOf) return `(${schema.allOf.map(typescript).join(" & ")})`;
  const types = [schema.type].flat();
  return types.length > 1 ? `(${types.map((type) => simple({ ...schema, type })).join(" | ")})` : simple(schema);
}

function simple(schema) {
  switch (schema.type) {
    case "string":
    case "boolean":
    case "null":
      return schema.type;
    case "integer":
    case "number":
      return "number";
    case "array":
      return `(${typescript(schema.items)})[]`;
    case "object":
      return object(schema);
    default:
      return "unknown";
  }
}

// An optional field that may be null is one the service leaves out rather than answer null, and takes either way.
function object({ properties, required = [], additionalProperties }) {
  if (!properties) return `Record<string, ${typescript(additionalProperties)}>`;
  const fields = Object.entries(properties).map(([name, schema]) => {
    const present = required.includes(name);
    return `${JSON.stringify(name)}${present ? "" : "?"}: ${present ? typescript(schema) : `Exclude<${typescript(schema)}, null>`}`;
  });
  return `{ ${fields.join("; ")} }`;
}

function compile(source) {
  const folder = mkdtempSync(path.join(tmpdir(), "fivetran-contract-"));
  try {
    writeFileSync(path.join(folder, "contract.ts"), `${source}\nexport {}\n`);
    writeFileSync(path.join(folder, "package.json"), '{"type":"module"}');
    const config = {
      compilerOptions: {
        strict: true,
        noEmit: true,
        module: "esnext",
        moduleResolution: "bundler",
        target: "es2023",
        types: [],
        skipLibCheck: true,
        lib: ["es2023", "dom", "dom.asynciterable"],
        paths: { "@sdk": [path.join(ROOT, "src/sdk/index.ts")] },
      },
      files: ["contract.ts"],
    };
    writeFileSync(path.join(folder, "tsconfig.json"), JSON.stringify(config));
    execFileSync(path.join(ROOT, "node_modules/.bin/tsc"), ["-p", folder], { encoding: "utf8" });
    return "";
  } catch (error) {
    if (!error.stdout) throw error;
    return explained(error.stdout, source);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Puts before each complaint which types it is about. */
function explained(complaints, source) {
  const lines = source.split("\n");
  return complaints.replaceAll(/^.*contract\.ts\((\d+),\d+\): error TS\d+: /gm, (_, line) => {
    const above = lines.slice(0, Number(line)).findLast((text) => text.startsWith("{ // ") || text.startsWith("// "));
    return `${above?.replace(/^\{? ?\/\/ /, "")}: ${/const (\w+)/.exec(lines[line - 1])?.[1]}: `;
  });
}
