// `npm run deploy`: builds the optimised Worker and puts it, with everything it needs, into your Cloudflare account.
// `--dry-run` does all that needs no account: the build, the budget, and wrangler's own packaging; with `--quick`, of
// the module as the tests built it.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";
import { unstable_readConfig } from "wrangler";
import { build, judge } from "./build.mjs";
import { newSecrets } from "./dev/service.mjs";
import { root } from "./lib/paths.mjs";
import { capture, run } from "./lib/process.mjs";
import { nodeTool } from "./lib/tools.mjs";

const flag = { type: "boolean", default: false };
const { values } = parseArgs({ options: { "dry-run": flag, quick: flag } });
const config = unstable_readConfig({ config: path.join(root, "wrangler.toml") });

judge(await build({ release: !(values["dry-run"] && values.quick) }));
if (values["dry-run"]) {
  const outdir = mkdtempSync(path.join(tmpdir(), "fivetran-deploy-"));
  await wrangler("deploy", "--dry-run", "--outdir", outdir);
  rmSync(outdir, { recursive: true });
  console.log("dry run: nothing was sent");
} else {
  await deploy();
}

async function deploy() {
  const who = await ask("whoami");
  if (who.code !== 0 || /not authenticated/i.test(who.output)) {
    throw new Error("Wrangler is not logged in. Run: npx wrangler login (or set CLOUDFLARE_API_TOKEN and CLOUDFLARE_ACCOUNT_ID)");
  }
  const generated = withDatabaseIds(await databases());
  try {
    for (const { bucket_name } of config.r2_buckets) await create("R2 bucket", bucket_name, "r2", "bucket", "create", bucket_name);
    for (const { queue, dead_letter_queue } of config.queues.consumers ?? []) {
      for (const name of [queue, dead_letter_queue].filter(Boolean)) await create("queue", name, "queues", "create", name);
    }
    for (const { binding, migrations_dir } of config.d1_databases) {
      if (migrations_dir) await wrangler("d1", "migrations", "apply", binding, "--remote", "-c", generated);
    }
    await wrangler("deploy", "-c", generated);
    await secrets(generated);
  } finally {
    rmSync(generated, { force: true });
  }
}

/** Database ids by name, after creating those that are missing. */
async function databases() {
  const list = async () => {
    const { code, output } = await ask("d1", "list", "--json");
    if (code !== 0) throw new Error(`Cannot list D1 databases:\n${output}`);
    return new Map(JSON.parse(output.slice(output.indexOf("["))).map((database) => [database.name, database.uuid]));
  };
  const known = await list();
  const missing = config.d1_databases.filter(({ database_name }) => !known.has(database_name));
  for (const { database_name } of missing) {
    console.log(`creating D1 database ${database_name}`);
    await wrangler("d1", "create", database_name);
  }
  return missing.length ? list() : known;
}

/** A copy of wrangler.toml with the account's ids, which have no place in the repository. */
function withDatabaseIds(ids) {
  const lines = readFileSync(path.join(root, "wrangler.toml"), "utf8").split("\n");
  const text = lines.flatMap((line) => {
    const name = /^database_name\s*=\s*"(.*)"/.exec(line)?.[1];
    return name ? [line, `database_id = "${ids.get(name)}"`] : [line];
  });
  const file = path.join(root, ".wrangler.deploy.toml");
  writeFileSync(file, text.join("\n"));
  return file;
}

/** Creates a resource, and is content when it is there already. */
async function create(what, name, ...command) {
  const { code, output } = await ask(...command);
  if (code === 0) console.log(`created ${what} ${name}`);
  else if (!/already (exists|taken|been taken|in use)/i.test(output)) throw new Error(`Cannot create ${what} ${name}:\n${output}`);
}

/** Puts the secrets that the Worker does not have yet. Existing ones stay: a new vault key would lose what it sealed. */
async function secrets(generated) {
  const { code, output } = await ask("secret", "list", "-c", generated);
  if (code !== 0) throw new Error(`Cannot list secrets:\n${output}`);
  const there = new Set(JSON.parse(output.slice(output.indexOf("["))).map((secret) => secret.name));
  const missing = Object.entries(newSecrets()).filter(([name]) => !there.has(name));
  if (missing.length === 0) return;
  const file = path.join(mkdtempSync(path.join(tmpdir(), "fivetran-secrets-")), "secrets.json");
  try {
    writeFileSync(file, JSON.stringify(Object.fromEntries(missing)), { mode: 0o600 });
    await wrangler("secret", "bulk", file, "-c", generated);
  } finally {
    rmSync(path.dirname(file), { recursive: true });
  }
  console.log("Keep these; they are shown only now:");
  for (const [name, value] of missing) console.log(`  ${name}=${value}`);
}

function wrangler(...args) {
  return run(nodeTool("node"), [nodeTool("wrangler"), ...args]);
}

function ask(...args) {
  return capture(nodeTool("node"), [nodeTool("wrangler"), ...args]);
}
