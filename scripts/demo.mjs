// `npm run demo`: builds the Worker and the SDK, then shows both at work. scripts/demo/ has the story.
import { build } from "./build.mjs";
import { run } from "./lib/process.mjs";
import { nodeTool } from "./lib/tools.mjs";

const started = Date.now();
await build();
await run(nodeTool("tsc"), ["-p", "tsconfig.json"]);
const { demo } = await import("./demo/main.mjs");
process.exit((await demo(started)) ? 0 : 1);
