// A TCP proxy in front of Postgres that does to its answers what networks and dying servers do. The faults that need an
// eye for the protocol are in tests/support/proxy.rs; these four need none.
import net from "node:net";

/**
 * Starts a proxy to a port of this machine.
 *
 * `arm({ kind, after, ms })` sets what happens to the first connection over which the server sent `after` bytes; once, then
 * the proxy is honest again. Kinds: `reset` and `end` (a clean FIN) break it off, `silence` holds it open and forwards
 * nothing more, `drip` forwards ten bytes a second for `ms` milliseconds.
 */
export async function startProxy(port) {
  let fault;
  const sockets = new Set();
  const server = net.createServer({ noDelay: true }, (client) => {
    const upstream = net.connect({ host: "127.0.0.1", port, noDelay: true });
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on("error", () => socket.destroy()).on("close", () => sockets.delete(socket));
    }
    client.pipe(upstream);
    client.on("close", () => upstream.destroy());
    upstream.on("close", () => client.end());
    let sent = 0;
    upstream.on("data", (bytes) => {
      sent += bytes.length;
      if (!fault || sent < fault.after) {
        if (!client.write(bytes)) {
          upstream.pause();
          client.once("drain", () => upstream.resume());
        }
        return;
      }
      const { kind, ms } = fault;
      fault = undefined;
      upstream.removeAllListeners("data");
      // Half of what just came goes through, so that the cut is in the middle of a row.
      const half = bytes.subarray(0, bytes.length >> 1);
      if (kind === "reset") client.resetAndDestroy();
      else if (kind === "end") client.end(half);
      else if (kind === "silence") client.write(half);
      else drip(upstream, client, bytes, ms);
    });
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: server.address().port,
    arm: (next) => (fault = next),
    /** Whether the fault has struck. */
    struck: () => fault === undefined,
    stop() {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

/** Single bytes for a while, then everything. */
function drip(upstream, client, bytes, ms) {
  upstream.pause();
  const end = Date.now() + ms;
  let at = 0;
  const timer = setInterval(() => {
    if (client.destroyed) return clearInterval(timer);
    if (Date.now() < end && at < bytes.length) return client.write(bytes.subarray(at, (at += 1)));
    clearInterval(timer);
    client.write(bytes.subarray(at));
    upstream.pipe(client);
  }, 100);
}
