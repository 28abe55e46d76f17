// A plain HTTP server that gives scripted answers: what the transport must cope with cannot be asked of a healthy service.
import { createServer } from "node:http";

/**
 * Closed when the test ends.
 * @param {import("node:test").TestContext} t
 * @param {(request: {method: string, url: URL, headers: object, body: any, count: number}) => {status?: number, headers?: object, body?: any, hang?: boolean, cut?: boolean}} answer
 */
export async function scripted(t, answer) {
  const requests = [];
  const server = createServer(async (incoming, outgoing) => {
    const chunks = [];
    for await (const chunk of incoming) chunks.push(chunk);
    const text = Buffer.concat(chunks).toString();
    const url = new URL(incoming.url, "http://localhost");
    const request = { method: incoming.method, url, headers: incoming.headers, body: text && JSON.parse(text) };
    requests.push(request);
    const { status = 200, headers = {}, body = {}, hang, cut } = answer({ ...request, count: requests.length });
    if (hang) return;
    if (cut) {
      outgoing.destroy();
      return;
    }
    outgoing.writeHead(status, { "content-type": "application/json", ...headers });
    outgoing.end(typeof body === "string" ? body : JSON.stringify(body));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  });
  return { url: `http://127.0.0.1:${server.address().port}`, requests };
}

export const success = (data) => ({ body: { code: "Success", data } });
export const failure = (status, code, message, headers) => ({ status, headers, body: { code, message } });
