// Groups, destinations, connections and runs in memory, with the service's statuses and codes. For what cannot be
// arranged with the real one: others who create at the same moment, runs that end in every way, secrets that rotate.
import { failure, scripted, success } from "./server.mjs";

const MASK = "******";
const SECRETS = ["url", "password", "api_token"];
const created = (data) => ({ status: 201, ...success(data) });
const missing = (kind) => failure(404, `NotFound_${kind}`, `${kind} does not exist.`);

export async function memoryService(t, { beforeCreate = () => {}, afterList = () => {}, tests = () => [], run = () => ({}) } = {}) {
  const groups = [];
  const destinations = new Map();
  const connections = [];
  const runs = new Map();
  const service = { groups, destinations, connections, runs, started: 0, secrets: new Map() };

  const masked = (id, config) => {
    for (const name of SECRETS) {
      if (name in config && config[name] !== MASK) service.secrets.set(`${id}.${name}`, config[name]);
    }
    const shown = Object.entries(config).filter(([, value]) => value !== null);
    return Object.fromEntries(shown.map(([name, value]) => [name, SECRETS.includes(name) ? MASK : value]));
  };
  const state = (results) => (results.some((test) => test.status === "FAILED") ? "incomplete" : "connected");
  const test = (target, wanted) => {
    if (wanted === false) return target;
    target.setup_tests = tests(target);
    if (target.status) target.status.setup_state = state(target.setup_tests);
    else target.setup_status = state(target.setup_tests).toUpperCase();
    return target;
  };
  const start = (connection) => {
    const number = (service.started += 1);
    const looks = run(number);
    runs.set(connection.id, { id: `run-${number}`, looks: [looks].flat(), at: 0 });
    service.afterStart?.();
    return success({ run_id: `run-${number}` });
  };

  const shown = (id, look) => {
    const ended_at = look.state === "RUNNING" ? null : "2026-01-01T00:00:10.000000Z";
    return { id, state: "SUCCESSFUL", phase: "done", started_at: "2026-01-01T00:00:00.000000Z", ended_at, tables: [], error: null, ...look };
  };

  const routes = {
    "GET groups": () => success({ items: groups }),
    "POST groups": ({ body }) => {
      beforeCreate("group", body, service);
      if (groups.some((group) => group.name === body.name)) return failure(409, "Conflict", "taken");
      const group = { id: `group-${groups.length + 1}`, name: body.name, created_at: "2026-01-01T00:00:00.000000Z" };
      groups.push(group);
      return created(group);
    },
    "GET destinations/*": ({ id }) => (destinations.has(id) ? success(destinations.get(id)) : missing("Destination")),
    "POST destinations": ({ body }) => {
      if (destinations.has(body.group_id)) return failure(409, "Conflict", "has one");
      const destination = { ...body, id: body.group_id, config: masked(body.group_id, body.config) };
      destinations.set(body.group_id, test(destination));
      return created(destination);
    },
    "PATCH destinations/*": ({ id, body }) => {
      const destination = destinations.get(id);
      destination.config = masked(id, { ...destination.config, ...body.config });
      return success(test(destination, body.run_setup_tests));
    },
    "GET connections": ({ url }) => {
      const wanted = (name, value) => !url.searchParams.has(name) || url.searchParams.get(name) === value;
      const items = connections.filter((one) => wanted("schema", one.schema) && wanted("group_id", one.group_id));
      afterList(url.searchParams, service);
      return success({ items });
    },
    "POST connections": ({ body }) => {
      beforeCreate("connection", body, service);
      const schema = body.config.schema_prefix ?? body.config.schema;
      if (connections.some((one) => one.schema === schema && one.group_id === body.group_id)) return failure(409, "Conflict", "taken");
      const id = `connection-${connections.length + 1}`;
      const connection = {
        id,
        group_id: body.group_id,
        service: body.service,
        schema,
        config: masked(id, body.config),
        paused: body.paused ?? false,
        sync_mode: body.sync_mode ?? "incremental",
        schedule_phrase: body.schedule ?? "every 6 hours",
        succeeded_at: null,
        failed_at: null,
        next_sync_at: null,
        status: { setup_state: "incomplete", sync_state: "scheduled", rescheduled_for: null, tasks: [], warnings: [] },
      };
      connections.push(connection);
      return created(test(connection));
    },
    "GET connections/*": ({ one }) => success(one),
    "PATCH connections/*": ({ one, body }) => {
      if (body.config) one.config = masked(one.id, { ...one.config, ...body.config });
      if ("paused" in body) one.paused = body.paused;
      if ("sync_mode" in body) one.sync_mode = body.sync_mode;
      if ("schedule" in body) one.schedule_phrase = body.schedule;
      return success(test(one, body.run_setup_tests ?? body.config !== undefined));
    },
    "DELETE connections/*": ({ one }) => {
      connections.splice(connections.indexOf(one), 1);
      return success();
    },
    "POST connections/*/sync": ({ one }) => start(one),
    "POST connections/*/resync": ({ one }) => start(one),
    "GET connections/*/runs": ({ runId }) => success(shown(runId, [run(Number(runId.slice(4)))].flat().at(-1))),
    "GET connections/*/progress": ({ id }) => {
      const live = runs.get(id);
      if (!live) return success({ run: null });
      const look = live.looks[Math.min(live.at, live.looks.length - 1)];
      live.at += 1;
      return success({ run: shown(live.id, look) });
    },
  };

  const server = await scripted(t, ({ method, url, body }) => {
    const [, , collection, id, action, runId] = url.pathname.split("/");
    const key = [collection, id && "*", action].filter(Boolean).join("/");
    const one = connections.find((connection) => connection.id === id);
    if (collection === "connections" && id && !one) return missing("Connection");
    return routes[`${method} ${key}`]({ url, body, id, one, runId });
  });
  return Object.assign(service, { url: server.url, requests: server.requests });
}

/** A table of a run. */
export const tableOf = (table, written, more = {}) => ({
  schema: "public",
  table,
  state: "published",
  mode: "full",
  chunks_planned: 1,
  chunks_done: 1,
  counts: { read: written, filtered: 0, written, deleted: 0, bytes: written * 10 },
  estimated_rows: written,
  live_rows: written,
  error: null,
  attempts: 1,
  rows_per_second: written,
  eta_seconds: null,
  ...more,
});
