// Counts queue messages, with a module in front of the Worker: the service itself has no use for the number.
import path from "node:path";

const PATH = "/__queue_messages";

const ENTRY = `import Worker from "./index.js";
export * from "./index.js";
let count = 0;
export default class Counting extends Worker {
  queue(batch) { count += batch.messages.length; return super.queue(batch); }
  fetch(request) { return new URL(request.url).pathname === "${PATH}" ? new Response(String(count)) : super.fetch(request); }
}`;

/** For the harness' `configure`. */
export function counted(worker) {
  worker.modules.unshift({ type: "ESModule", path: path.join(worker.modulesRoot, "counting.js"), contents: ENTRY });
}

/** Messages delivered so far. */
export const messages = async ({ url }) => Number(await (await fetch(url + PATH)).text());
