// The database that never holds still: what is in it, and what happens to it.
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";

/** Columns and tables that schema changes may add in all; D1 takes 100 columns a table. */
const MAX_COLUMNS = 40;
const MAX_TABLES = 6;

/** Waiting longer for a lock than this would only make the other mutators wait behind. */
const SESSION = "SET lock_timeout = '2s'; SET search_path = shop";

/** One table of several chunks (64 MiB each), so that a crash has a middle of a table to hit. */
const ARCHIVE_ROWS = 24_000;

export const SCHEMA = `
  CREATE SCHEMA shop;
  SET search_path = shop;
  CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer text NOT NULL, amount numeric(12,2),
    placed timestamptz NOT NULL DEFAULT clock_timestamp(), v integer, note text);
  INSERT INTO orders (customer, amount, v, note)
    SELECT 'customer ' || i, i / 7.0, i, repeat('ü€😀', i % 5) FROM generate_series(1, 20000) i;
  CREATE TABLE lines (order_id bigint, line integer, sku text, quantity integer, price numeric(20,6), PRIMARY KEY (order_id, line));
  INSERT INTO lines SELECT 1 + i / 3, i % 3, md5(i::text), i % 100, i / 13.0 FROM generate_series(0, 29999) i;
  CREATE TABLE documents (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), body text, bytes bytea, flag boolean, ratio double precision,
    day date, tags jsonb);
  INSERT INTO documents (body, bytes, flag, ratio, day, tags)
    SELECT repeat(md5(i::text), i % 200), decode(md5(i::text), 'hex'), i % 3 = 0, i / 11.0::float8, date '2000-01-01' + i,
      jsonb_build_object('i', i) FROM generate_series(1, 3000) i;
  CREATE TABLE events (at timestamptz NOT NULL DEFAULT clock_timestamp(), n bigint GENERATED ALWAYS AS IDENTITY, kind text);
  INSERT INTO events (kind) SELECT 'kind ' || i % 9 FROM generate_series(1, 5000) i;
  CREATE TABLE ticks (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, seen timestamptz NOT NULL DEFAULT now(), v integer);
  CREATE INDEX ON ticks (seen);
  INSERT INTO ticks (v) SELECT i FROM generate_series(1, 2000) i;
  CREATE TABLE archive (id integer PRIMARY KEY, n bigint, pad text);
  ALTER TABLE archive ALTER pad SET STORAGE PLAIN;
  INSERT INTO archive SELECT i, i * 7919::bigint, repeat(md5(i::text), 110) FROM generate_series(1, ${ARCHIVE_ROWS}) i;`;

/** Some documents, others each time: their keys are random, so no arithmetic picks them. */
const someDocuments = (dice, count) => `id IN (SELECT id FROM documents ORDER BY md5(id::text || '${dice.between(1, 1e9)}') LIMIT ${count})`;

/** What one statement does, by weight. `dice` decides its size. */
const WRITES = [
  [20, (dice) => `INSERT INTO orders (customer, amount, v, note) SELECT 'new ' || i, i / 3.0, i, 'n' FROM generate_series(1, ${dice.between(1, 100)}) i`],
  [20, (dice) => `UPDATE orders SET v = coalesce(v, 0) % 1000000 + 1, note = 'updated ${dice.between(1, 1e9)}' WHERE id % ${dice.between(50, 5000)} = ${dice.between(0, 49)}`],
  [10, (dice) => `DELETE FROM orders WHERE id % ${dice.between(300, 1000)} = ${dice.between(0, 299)}`],
  // The key itself moves: the old one is gone, the new one is new.
  [2, (dice) => `UPDATE lines SET line = line + ${dice.between(1000, 1e8)} WHERE order_id = ${dice.between(1, 10_000)}`],
  [8, (dice) => `INSERT INTO lines SELECT ${dice.between(20_000, 1e9)}, i, 'sku', i, i / 7.0 FROM generate_series(1, ${dice.between(1, 50)}) i ON CONFLICT DO NOTHING`],
  [8, (dice) => `UPDATE lines SET quantity = quantity + 1, price = NULL WHERE order_id % ${dice.between(100, 3000)} = ${dice.between(0, 99)}`],
  [3, (dice) => `DELETE FROM lines WHERE order_id % ${dice.between(1000, 5000)} = ${dice.between(0, 999)}`],
  [2, (dice) => `INSERT INTO documents (body, flag, ratio) SELECT repeat('${dice.between(1, 9)}é', ${dice.between(0, 20_000)}), NULL, 'NaN' FROM generate_series(1, ${dice.between(1, 5)})`],
  [6, (dice) => `UPDATE documents SET body = body || 'x', tags = jsonb_build_object('u', ${dice.between(1, 1e6)}) WHERE ${someDocuments(dice, dice.between(1, 40))}`],
  [1, (dice) => `DELETE FROM documents WHERE ${someDocuments(dice, dice.between(1, 10))}`],
  [8, (dice) => `INSERT INTO events (kind) SELECT 'k' FROM generate_series(1, ${dice.between(1, 100)})`],
  [2, (dice) => `UPDATE events SET kind = kind || '!' WHERE n % ${dice.between(300, 2000)} = 7`],
  [2, (dice) => `DELETE FROM events WHERE n % ${dice.between(300, 2000)} = 3`],
  [8, (dice) => `INSERT INTO ticks (v) SELECT i FROM generate_series(1, ${dice.between(1, 50)}) i`],
  [6, (dice) => `UPDATE ticks SET v = v + 1, seen = now() WHERE id % ${dice.between(50, 500)} = ${dice.between(0, 49)}`],
  [6, (dice) => `UPDATE archive SET n = n + 1 WHERE id % ${dice.between(500, 5000)} = ${dice.between(0, 499)}`],
  [1, (dice) => `DELETE FROM archive WHERE id = ${dice.between(1, ARCHIVE_ROWS)}`],
];

/** Changes of shape and place. Each gets the number of schema changes so far, so that every name is new. */
const RESHAPES = [
  [6, (dice, at) => `ALTER TABLE ${dice.pick(["orders", "lines", "documents", "events"])} ADD COLUMN added_${at} ${dice.pick(["text", "integer", "timestamptz", "numeric(10,3)"])}`],
  [3, (dice, at) => `ALTER TABLE ${dice.pick(["orders", "documents"])} ADD COLUMN filled_${at} integer DEFAULT ${at}`],
  [3, (dice, at) => `CREATE TABLE made_${at} (id integer PRIMARY KEY, v text); INSERT INTO made_${at} SELECT i, 'm' || i FROM generate_series(1, 500) i`],
  [1, () => "ALTER TABLE orders ALTER v TYPE bigint"],
  [1, () => "ALTER TABLE lines ALTER price TYPE numeric(30,8)"],
  [1, () => "ALTER TABLE lines ALTER quantity TYPE text"],
  [2, (dice, at) => `ALTER TABLE orders RENAME COLUMN note TO note_${at}; ALTER TABLE orders ADD COLUMN note text`],
  [1, () => "TRUNCATE events"],
  // Moves every row to another place without a trace in its transaction ids, as VACUUM FULL and pg_repack do.
  [2, () => "CLUSTER archive USING archive_pkey"],
];

/**
 * Changes the database until told to stop; survives its crashes.
 *
 * @returns {{ stop: () => Promise<void>, done: Record<string, number> }}
 */
export function mutate(url, newDice, workers = 3) {
  const done = { transactions: 0, rows: 0, late: 0, reshaped: 0, columns: 0, tables: 0 };
  let running = true;
  const going = () => running;
  const all = Array.from({ length: workers }, (_, at) => work(url, newDice(`mutator ${at}`), done, going));
  all.push(work(url, newDice("late"), done, going, late), work(url, newDice("reshape"), done, going, reshape));
  return {
    done,
    async stop() {
      running = false;
      await Promise.all(all);
    },
  };
}

/** One actor: a connection, made again whenever it is lost. */
async function work(url, dice, done, going, act = write) {
  while (going()) {
    const client = new pg.Client({ connectionString: url });
    // A connection that dies between two statements says so by an event, which nobody may ignore.
    client.on("error", () => {});
    try {
      await client.connect();
      await client.query(SESSION);
      while (going()) await attempt(client, () => act(client, dice, done, going));
    } catch {
      await sleep(100);
    } finally {
      await client.end().catch(() => {});
    }
  }
}

/** Lock timeouts, deadlocks, names that are gone: the database goes on, so do we. A lost connection is thrown. */
async function attempt(client, action) {
  try {
    await action();
  } catch (error) {
    if (!/^(22|23|40|42|55|57014)/.test(error.code ?? "")) throw error;
    await client.query("ROLLBACK");
  }
}

/** A transaction of one to four statements; one in ten is rolled back. */
async function write(client, dice, done) {
  await client.query("BEGIN");
  let rows = 0;
  for (let left = dice.between(1, 4); left > 0; left -= 1) rows += (await client.query(dice.weighted(WRITES)(dice))).rowCount;
  if (dice.roll() < 0.1) {
    await client.query("ROLLBACK");
  } else {
    await client.query("COMMIT");
    done.transactions += 1;
    done.rows += rows;
  }
  await sleep(dice.between(50, 300));
}

/** A transaction that takes its number and its time stamps now and commits seconds later, when younger ones were synced. */
async function late(client, dice, done, going) {
  await client.query("BEGIN");
  const { rowCount } = await client.query(`INSERT INTO orders (customer, v) SELECT 'late', i FROM generate_series(1, ${dice.between(1, 20)}) i`);
  await client.query("INSERT INTO ticks (v) VALUES (-1)");
  for (let waits = dice.between(5, 80); waits > 0 && going(); waits -= 1) await sleep(100);
  await client.query("COMMIT");
  done.late += 1;
  done.rows += rowCount + 1;
}

/** A schema change every few seconds, until there are enough of them. */
async function reshape(client, dice, done, going) {
  for (let waits = dice.between(20, 80); waits > 0 && going(); waits -= 1) await sleep(100);
  if (!going()) return;
  const sql = dice.weighted(RESHAPES)(dice, done.reshaped + 1);
  const [adds, makes] = [sql.includes("ADD COLUMN"), sql.includes("CREATE TABLE")];
  if ((adds && done.columns >= MAX_COLUMNS) || (makes && done.tables >= MAX_TABLES)) return;
  await client.query(`BEGIN; ${sql}; COMMIT`);
  done.reshaped += 1;
  done.columns += Number(adds);
  done.tables += Number(makes);
}

/** Names of the tables there are, as `schema.table`. */
export async function tablesOf(cluster) {
  const { rows } = await cluster.query("SELECT tablename FROM pg_tables WHERE schemaname = 'shop' ORDER BY 1");
  return rows.map(({ tablename }) => `shop.${tablename}`);
}
