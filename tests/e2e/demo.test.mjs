// `npm run demo` with a database of the user's own, which holds whatever it holds.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import path from "node:path";
import { after, before, test } from "node:test";
import { startPostgres } from "../../scripts/dev/postgres.mjs";
import { root } from "../../scripts/lib/paths.mjs";

let postgres;
before(async () => (postgres = await startPostgres()));
after(() => postgres?.stop());

function demo(url) {
  return new Promise((resolve) => {
    const options = { cwd: root, env: { ...process.env, DATABASE_URL: url, NO_COLOR: "1" }, maxBuffer: 1e8 };
    execFile(process.execPath, [path.join(root, "scripts/demo.mjs")], options, (error, stdout, stderr) =>
      resolve({ code: error?.code ?? 0, stdout, stderr }));
  });
}

test("a table that D1 cannot hold is skipped with a message, and everything else lands and matches", async () => {
  const columns = Array.from({ length: 120 }, (_, at) => `c${at} integer`).join(", ");
  await postgres.query(`CREATE TABLE wide (id integer PRIMARY KEY, ${columns}); INSERT INTO wide (id, c7) SELECT i, i FROM generate_series(1, 50) i;
    CREATE TABLE plain (id integer PRIMARY KEY, note text); INSERT INTO plain SELECT i, 'row ' || i FROM generate_series(1, 3000) i;
    CREATE TABLE unkeyed (note text); INSERT INTO unkeyed VALUES ('same'), ('same'), ('other')`);
  const { code, stdout, stderr } = await demo(`${postgres.url}?sslmode=disable`);
  assert.equal(code, 0, stdout + stderr);
  assert.match(stdout, /skipped demo-d1: public\.wide: .*columns/);
  for (const line of ["plain in D1: 3,000 rows", "plain on R2: 3,000 rows", "unkeyed in D1: 2 rows", "wide on R2: 50 rows"]) {
    assert.ok(stdout.includes(`ok ${line}`), `${line}\n${stdout}`);
  }
  assert.ok(!stdout.includes("wide in D1"));
  assert.match(stdout, /D1 {2}3,00[23] rows in 2 tables/);
  assert.match(stdout, /Everything matches/);
});
