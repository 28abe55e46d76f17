// The demo's source: PGlite, a PostgreSQL in WASM, behind a TCP port, with real flights in it. A process of its own,
// because a query occupies PGlite's thread until it is done, and the demo wants to draw progress meanwhile.
import { readFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { zstdDecompressSync } from "node:zlib";
import { PGlite } from "@electric-sql/pglite";
import { PGLiteSocketServer } from "@electric-sql/pglite-socket";
import { asyncBufferFromFile, parquetRead } from "hyparquet";

const DATA = fileURLToPath(new URL("../../node_modules/vega-datasets/data", import.meta.url));
/** Rows of one COPY: some 5 MB of text at a time. */
const SLICE = 100_000;

const SCHEMA = `
  CREATE TABLE airports (
    iata text PRIMARY KEY,
    name text NOT NULL,
    city text,
    state text,
    country text NOT NULL,
    latitude double precision NOT NULL,
    longitude double precision NOT NULL
  );
  CREATE TABLE flights (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    departed_at timestamp NOT NULL,
    delay_minutes integer,
    distance_miles integer NOT NULL,
    origin text NOT NULL,
    destination text NOT NULL
  );`;

async function loadAirports(db) {
  const csv = await readFile(path.join(DATA, "airports.csv"));
  await db.query("COPY airports FROM '/dev/blob' WITH (FORMAT csv, HEADER)", [], { blob: new Blob([csv]) });
}

async function loadFlights(db, count, report) {
  const file = await asyncBufferFromFile(path.join(DATA, "flights-3m.parquet"));
  for (let start = 0; start < count; start += SLICE) {
    const end = Math.min(count, start + SLICE);
    const columns = { date: [], delay: [], distance: [], origin: [], destination: [] };
    await parquetRead({
      file,
      rowStart: start,
      rowEnd: end,
      compressors: { ZSTD: (bytes) => zstdDecompressSync(bytes) },
      // Chunks are whole pages, and may reach beyond the rows asked for.
      onChunk: ({ columnName, columnData, rowStart }) => {
        for (let index = 0; index < columnData.length; index += 1) {
          const row = rowStart + index;
          if (row >= start && row < end) columns[columnName][row - start] = columnData[index];
        }
      },
    });
    const lines = columns.date.map((date, row) => {
      const delay = columns.delay[row] ?? "\\N";
      const { distance, origin, destination } = columns;
      return `${date.toISOString().slice(0, -1)}\t${delay}\t${distance[row]}\t${origin[row]}\t${destination[row]}\n`;
    });
    const blob = new Blob(lines);
    const target = "flights (departed_at, delay_minutes, distance_miles, origin, destination)";
    await db.query(`COPY ${target} FROM '/dev/blob'`, [], { blob });
    report(end);
  }
}

const flights = Number(process.argv[2]);
const db = await PGlite.create();
await db.exec(SCHEMA);
await loadAirports(db);
await loadFlights(db, flights, (rows) => process.send({ rows }));
const { rows } = await db.query("SELECT current_setting('server_version') AS version");
// PGlite has one session for all of its connections; the socket server lets them take turns. Its default of one
// connection would cut the second off.
const server = new PGLiteSocketServer({ db, host: "127.0.0.1", port: 0, maxConnections: 50 });
server.addEventListener("listening", ({ detail }) => process.send({ port: detail.port, version: rows[0].version }));
await server.start();
// The demo may be killed: nobody else would stop this process then.
process.on("disconnect", () => process.exit(0));
