// Source tables that every destination must carry exactly.

/** Every Postgres type with its extremes. A row takes one value of each list, so the lists may differ in length. */
const TYPES = [
  ["smallint", [-32768, 32767, 0, null]],
  ["integer", [-2147483648, 2147483647, 0, null]],
  ["bigint", ["-9223372036854775808", "9223372036854775807", "9007199254740993", null]],
  ["oid", [0, "4294967295", null]],
  ["numeric(10,2)", ["-99999999.99", "99999999.99", "0.00", "0.10", null]],
  ["numeric(15,0)", ["-999999999999999", "999999999999999", null]],
  ["numeric(38,10)", ["-9999999999999999999999999999.9999999999", "9999999999999999999999999999.9999999999", "0.0000000001", null]],
  ["numeric(38,38)", ["-0.99999999999999999999999999999999999999", "0.00000000000000000000000000000000000001", null]],
  ["numeric", ["NaN", "Infinity", "-1e-400", "123456789012345678901234567890123456789012345.6789", "1.10", null]],
  ["numeric(100,20)", ["12345678901234567890123456789012345678901234567890.12345678901234567890", null]],
  ["real", ["-3.4028235e38", "1.4e-45", "0.1", "NaN", "Infinity", "-Infinity", "16777217", null]],
  ["double precision", ["-1.7976931348623157e308", "5e-324", "0.1", "NaN", "Infinity", "-Infinity", "9007199254740993", null]],
  ["boolean", [true, false, null]],
  ["text", ["", "plain", "quote ' \" \\ slash / , ; line\nbreak\r\ttab", "\u0001\u001f\u007f\u0085\u2028", "ünïcödé 漢字 🦆 e\u0301", "null", "NaN", null]],
  ["varchar(20)", ["", " padded ", "20 characters, yes!!", null]],
  ["char(8)", ["", "abc", "12345678", null]],
  ["name", ["a_name", null]],
  ["bytea", ["\\x", "\\x00", "\\x00ff10fe7f80", `\\x${"ab".repeat(5000)}`, null]],
  ["date", ["4713-01-01 BC", "0001-12-31 BC", "0001-01-01", "1970-01-01", "2024-02-29", "9999-12-31", "5874897-12-31", "infinity", "-infinity", null]],
  ["time", ["00:00:00", "23:59:59.999999", "24:00:00", null]],
  ["timetz", ["00:00:00+15:59", "23:59:59.999999-15:59", null]],
  ["timestamp", ["4713-01-01 00:00:00 BC", "0001-12-31 23:59:59.999999 BC", "1969-12-31 23:59:59.999999", "9999-12-31 23:59:59.999999", "294247-01-10 04:00:54.775806", "infinity", "-infinity", null]],
  ["timestamptz", ["4713-01-01 00:00:00+00 BC", "1969-12-31 23:59:59.999999+00", "2024-03-31 02:30:00+01", "294247-01-10 04:00:54.775806+00", "infinity", "-infinity", null]],
  ["timestamptz(3)", ["2024-02-29 10:15:30.123+00", null]],
  ["interval", ["-178000000 years", "1 year 2 mons -3 days 04:05:06.789", "00:00:00.000001", null]],
  ["uuid", ["00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff", null]],
  ["json", ['{"a": 1, "a": 2,  "big": 12345678901234567890.0}', "null", '"x"', null]],
  ["jsonb", ['{"b": [1, 2.50, null, true], "a": "\\u00fc"}', "[]", "null", null]],
  ["e2e_mood", ["sad", "so so", "happy", null]],
  ["integer[]", ["{}", "{1,NULL,-2147483648}", "[0:1]={7,8}", null]],
  ["text[]", ['{{a,b},{"c,\\"","NULL"}}', null]],
  ["int4range", ["empty", "[1,10)", "(,)", null]],
  ["numrange", ["(1.5,2.50]", null]],
  ["tstzrange", ['["2024-01-01 00:00:00+00","2024-06-01 00:00:00.5+00")', null]],
  ["int4multirange", ["{[1,3),[5,7)}", "{}", null]],
  ["inet", ["192.168.0.1", "10.0.0.0/8", "::ffff:1.2.3.4", null]],
  ["cidr", ["10.0.0.0/8", "2001:db8::/32", null]],
  ["macaddr", ["08:00:2b:01:02:03", null]],
  ["e2e_pair", ['(1,"a ""b""")', "(,)", null]],
  ["e2e_price", ["0.001", "999999999.999", null]],
  ["e2e_label", ["", "domain over a domain", null]],
  ["point", ["(1.5,-2)", null]],
  ["polygon", ["((0,0),(1,1),(1,0))", null]],
  ["bit(8)", ["10101010", null]],
  ["bit varying", ["", "101", null]],
  ["money", ["-92233720368547758.08", "0.01", null]],
  ["tsvector", ["'a':1 'fat':2", null]],
  ["jsonpath", ["$.a[*]", null]],
  ["pg_lsn", ["FFFFFFFF/FFFFFFFF", null]],
  ["xml", ["<a>b</a>", null]],
  ["hstore", ['"a"=>"1", "b"=>NULL', "", null]],
  ["citext", ["MixedCase", "", null]],
];

/** SQL of table `all_types`: a column per type, `id` as its key. */
function allTypes() {
  const name = (type) => `c_${type.replace("[]", " array").replace(/[^a-z0-9]+/gi, "_").replace(/_$/, "")}`;
  const literal = (value) => (value === null ? "NULL" : `E'${String(value).replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`);
  const columns = TYPES.map(([type]) => `${name(type)} ${type}`);
  const rows = Math.max(...TYPES.map(([, values]) => values.length));
  const row = (at) => [at, ...TYPES.map(([type, values]) => `${literal(values[at % values.length])}::${type}`)];
  // One row of nothing but NULL besides.
  const all = [...Array.from({ length: rows }, (_, at) => row(at)), [rows, ...TYPES.map(() => "NULL")]];
  return `
    CREATE EXTENSION IF NOT EXISTS hstore; CREATE EXTENSION IF NOT EXISTS citext;
    CREATE TYPE e2e_mood AS ENUM ('sad', 'so so', 'happy');
    CREATE TYPE e2e_pair AS (a integer, b text);
    CREATE DOMAIN e2e_price AS numeric(12,3) CHECK (VALUE > 0);
    CREATE DOMAIN e2e_word AS varchar(40); CREATE DOMAIN e2e_label AS e2e_word;
    CREATE TABLE all_types (id integer PRIMARY KEY, ${columns.join(", ")});
    INSERT INTO all_types VALUES ${all.map((values) => `(${values.join(", ")})`).join(",\n")};`;
}

/** Tables whose shape, not whose values, is the difficulty. */
const SHAPES = `
  CREATE TABLE orders (id bigint PRIMARY KEY, customer text NOT NULL, amount numeric(12,2), placed timestamptz NOT NULL,
    note text, updated_at timestamptz NOT NULL DEFAULT now());
  INSERT INTO orders (id, customer, amount, placed, note)
    SELECT i, 'customer ' || i % 97, (i * 7919 % 1000000) / 100.0, timestamptz '2024-01-01Z' + i * interval '61 seconds',
      CASE WHEN i % 5 > 0 THEN repeat(md5(i::text), i % 7) END FROM generate_series(1, 5000) i;

  CREATE TABLE two_keys (region text, n integer, value double precision, PRIMARY KEY (region, n));
  INSERT INTO two_keys SELECT chr(65 + i % 3), i, i / 7.0 FROM generate_series(1, 200) i;

  CREATE TABLE no_key (a integer, b text);
  INSERT INTO no_key SELECT i, CASE WHEN i % 3 = 0 THEN NULL ELSE 'b' || i END FROM generate_series(1, 100) i;
  INSERT INTO no_key VALUES (NULL, NULL), (NULL, ''), (0, NULL);

  CREATE TABLE empty_table (id uuid PRIMARY KEY, at date);

  CREATE SCHEMA "Sales Dept";
  CREATE TABLE "Sales Dept"."Order ""Items""" ("Id" integer PRIMARY KEY, "Unit Price €" numeric(8,2), "orderId" integer,
    "select" text, _fivetran_synced text, "ID" text, "1st" boolean, "日本" text);
  INSERT INTO "Sales Dept"."Order ""Items""" SELECT i, i / 3.0, i * 2, 'sel' || i, 'mine', 'upper', i % 2 = 0, '漢' || i
    FROM generate_series(1, 50) i;
  CREATE TABLE "Sales Dept".orders (id integer PRIMARY KEY, only_here text);
  INSERT INTO "Sales Dept".orders VALUES (1, 'x');

  CREATE TABLE measurements (at date NOT NULL, sensor integer NOT NULL, value real, PRIMARY KEY (at, sensor))
    PARTITION BY RANGE (at);
  CREATE TABLE measurements_2023 PARTITION OF measurements FOR VALUES FROM ('2023-01-01') TO ('2024-01-01');
  CREATE TABLE measurements_2024 PARTITION OF measurements FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
  CREATE TABLE measurements_rest PARTITION OF measurements DEFAULT;
  INSERT INTO measurements SELECT date '2023-06-01' + i % 900, i, i / 9.0 FROM generate_series(1, 900) i;

  CREATE VIEW large_orders AS SELECT id, amount, customer FROM orders WHERE amount > 5000;
  CREATE MATERIALIZED VIEW per_customer AS SELECT customer, count(*) AS orders, sum(amount) AS total FROM orders GROUP BY 1;
`;

/** SQL that makes all of them. */
export const everyTable = () => allTypes() + SHAPES;

/** Their names. Partitions are not tables of their own. */
export const TABLES = [
  "all_types",
  "orders",
  "two_keys",
  "no_key",
  "empty_table",
  'Sales Dept.Order "Items"',
  "Sales Dept.orders",
  "measurements",
  "large_orders",
  "per_customer",
];

/** Inserts and updates in most of them, and how many rows of each that touches. */
export const CHANGES = {
  sql: `
    UPDATE all_types SET c_text = 'changed', c_bigint = 42, c_date = NULL WHERE id = 1;
    UPDATE orders SET amount = amount + 10000, updated_at = now() WHERE id % 1000 = 0;
    INSERT INTO orders (id, customer, amount, placed) VALUES (5001, 'new', 12345.67, now()), (5002, 'new', NULL, now());
    UPDATE two_keys SET value = NULL WHERE region = 'B' AND n < 10;
    INSERT INTO no_key VALUES (1000, 'new'), (1001, NULL);
    INSERT INTO empty_table VALUES ('11111111-2222-3333-4444-555555555555', '2024-12-24');
    UPDATE "Sales Dept"."Order ""Items""" SET "select" = NULL WHERE "Id" = 7;
    UPDATE measurements SET value = -1 WHERE sensor = 3;
    INSERT INTO measurements VALUES ('2030-01-01', 1, 1.5), ('2024-12-31', 1, 2.5);`,
  touched: {
    all_types: 1,
    orders: 7,
    two_keys: 3,
    no_key: 2,
    empty_table: 1,
    'Order "Items"': 1,
    measurements: 3,
  },
};

/** Deletes, and an update that without a key looks like one. */
export const DELETES = {
  sql: `
    DELETE FROM orders WHERE id % 500 = 1 AND id < 5000;
    DELETE FROM two_keys WHERE region = 'C' AND n <= 8;
    UPDATE no_key SET b = 'updated' WHERE a = 1;
    DELETE FROM measurements WHERE sensor = 5;
    DELETE FROM all_types WHERE id = 0;`,
  gone: { all_types: 1, orders: 10, two_keys: 3, no_key: 1, measurements: 1 },
};
