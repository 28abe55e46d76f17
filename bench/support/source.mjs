// A real Postgres with TPC-H's lineitem in it.
import { execFileSync, spawn } from "node:child_process";
import { existsSync, realpathSync } from "node:fs";
import path from "node:path";
import { cacheDir } from "../../scripts/lib/paths.mjs";
import { binDirectory, startPostgres } from "../../scripts/dev/postgres.mjs";
import { LINEITEM } from "../../tests/e2e/support/lineitem.mjs";

const GENERATOR = "tpchgen-cli==4.0.0";

/** Rows of lineitem at TPC-H's scale factor 1. */
const ROWS_AT_SCALE_1 = 6_001_215;

/** Starts Postgres, with TLS or without, and loads that many rows. */
export async function startSource(rows, { ssl = false } = {}) {
  const pg = await startPostgres({ ssl, settings: { shared_buffers: "1GB", maintenance_work_mem: "256MB" } });
  await pg.query(`CREATE TABLE lineitem (${LINEITEM.columns})`);
  const generator = installed();
  if (generator) await pipe(pg, generator, rows);
  else await pg.query(LINEITEM.insert("lineitem", 1, rows));
  await pg.query(`ALTER TABLE lineitem ADD ${LINEITEM.key}`);
  await pg.query("VACUUM (FREEZE, ANALYZE) lineitem");
  const { rows: found } = await pg.query("SELECT count(*)::float8 AS rows, pg_relation_size('lineitem')::float8 AS bytes FROM lineitem");
  return { ...pg, ...found[0], origin: generator ? `from ${GENERATOR}` : "from the SQL generator (tpchgen-cli could not be installed)" };
}

/** The generator's path, or undefined where it cannot be had. */
function installed() {
  const dir = path.join(cacheDir, "tpchgen");
  const program = path.join(dir, "bin", "tpchgen-cli");
  try {
    if (!existsSync(program)) {
      execFileSync("python3", ["-m", "venv", dir], { stdio: "pipe" });
      execFileSync(path.join(dir, "bin", "python"), ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", GENERATOR], { stdio: "pipe" });
    }
    return program;
  } catch {
    return undefined;
  }
}

/** Generator into psql; `head` ends at the row asked for. */
function pipe(pg, generator, rows) {
  const scale = (rows / ROWS_AT_SCALE_1) * 1.01 + 0.001;
  const script = `"${generator}" csv -s ${scale} --tables=lineitem --stdout --no-progress 2>/dev/null | head -n ${rows + 1} | ` +
    `"${psql()}" -qX -d "$URL" -c "\\copy lineitem FROM STDIN (FORMAT csv, HEADER)"`;
  return shell(script, pg.url);
}

/** Seconds that psql takes to fetch the table in binary. */
export async function copyBinary(source) {
  const began = performance.now();
  await shell(`"${psql()}" -qX -d "$URL" -c "\\copy lineitem TO STDOUT (FORMAT binary)" > /dev/null`, source.url);
  return (performance.now() - began) / 1000;
}

/** Beside the server, whose path may be a link. */
const psql = () => path.join(path.dirname(realpathSync(path.join(binDirectory(), "postgres"))), "psql");

function shell(script, url) {
  return new Promise((resolve, reject) => {
    const child = spawn("sh", ["-c", script], { stdio: ["ignore", "inherit", "inherit"], env: { ...process.env, URL: url } });
    child.once("error", reject);
    child.once("close", (code) => (code === 0 ? resolve() : reject(new Error(`The command ended with ${code}: ${script}`))));
  });
}
