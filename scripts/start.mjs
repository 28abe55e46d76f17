// `npm start`: the service on this machine, with its state kept in .state between runs.
import path from "node:path";
import { parseArgs } from "node:util";
import { build } from "./build.mjs";
import { startService } from "./dev/service.mjs";
import { root } from "./lib/paths.mjs";

const { values } = parseArgs({
  options: {
    port: { type: "string", default: process.env.PORT ?? "8787" },
    host: { type: "string", default: "127.0.0.1" },
    state: { type: "string", default: path.join(root, ".state") },
  },
});

await build();
const service = await startService({
  persistTo: values.state,
  port: Number(values.port),
  host: values.host,
  cron: true,
  onLog: ({ level, message }) => console.log(`${new Date().toISOString()} ${level} ${message}`),
});
console.log(`
fivetran.do is running at ${service.url}

  API key     ${service.apiKey}
  API secret  ${service.apiSecret}
  state       ${service.state} (delete it to begin anew)

Next:
  curl -u ${service.apiKey}:${service.apiSecret} ${service.url}/v1/account/info
  ${service.url}/v1/openapi.json describes the rest. npm run demo shows it at work.

Ctrl-C stops it; state and keys stay.`);

for (const signal of ["SIGINT", "SIGTERM"]) {
  process.once(signal, async () => {
    await service.stop();
    process.exit(0);
  });
}
