// One full sync over REST, and what it cost.
import { setTimeout as sleep } from "node:timers/promises";

const CONFIG = { r2: { bucket: "LAKE" }, d1: { binding: "ANALYTICS_DB" } };

/** A connection for the table; gives its id. */
export async function connect(service, destination, source, name = "bench", encrypted = false) {
  const ask = asking(service);
  const { id: group_id } = await ask("POST", "/v1/groups", { name });
  await ask("POST", "/v1/destinations", { group_id, service: destination, region: "LOCAL", time_zone_offset: "0", config: CONFIG[destination] });
  const { host, port, user, password, database } = source;
  const config = { host, port, user, password, database, sslmode: encrypted ? "require" : "disable", schema_prefix: name, tables: ["public.lineitem"] };
  const { id } = await ask("POST", "/v1/connections", { group_id, service: "postgres", schedule_type: "manual", trust_certificates: encrypted, config });
  return id;
}

/** Syncs, or does it anew with `resync`, and gives seconds from request to published, effort and chunks. */
export async function syncOnce(service, id, how = "sync") {
  const ask = asking(service);
  const { run: former } = await ask("GET", `/v1/connections/${id}/progress`);
  const began = performance.now();
  await ask("POST", `/v1/connections/${id}/${how}`, {});
  for (;;) {
    // Rarely, because each look takes the Worker's one thread.
    await sleep(100);
    const { run } = await ask("GET", `/v1/connections/${id}/progress`);
    if (!run || run.id === former?.id || run.state === "RUNNING") continue;
    if (run.state !== "SUCCESSFUL") throw new Error(`The sync ended ${run.state}: ${JSON.stringify(run.error)}`);
    const [table] = run.tables;
    return {
      wall: (performance.now() - began) / 1000,
      seconds: (Date.parse(run.ended_at) - Date.parse(run.started_at)) / 1000,
      written: table.counts.written,
      chunks: table.chunks_done,
      effort: run.effort,
      rss: service.rss(),
    };
  }
}

const asking = (service) => async (method, path, body) => {
  const { status, body: answer } = await service.api(method, path, body);
  if (status >= 300) throw new Error(`${method} ${path} answered ${status}: ${JSON.stringify(answer)}`);
  return answer.data;
};
