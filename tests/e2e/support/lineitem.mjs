// TPC-H's lineitem, made by SQL: the types of the specification and values distributed like its own, so that tests need
// no generator. Not the specification's own rows; the benchmark uses those where it can (bench/README.md).

const COLUMNS = `l_orderkey bigint NOT NULL, l_partkey bigint NOT NULL, l_suppkey bigint NOT NULL, l_linenumber integer NOT NULL,
  l_quantity numeric(15,2) NOT NULL, l_extendedprice numeric(15,2) NOT NULL, l_discount numeric(15,2) NOT NULL,
  l_tax numeric(15,2) NOT NULL, l_returnflag char(1) NOT NULL, l_linestatus char(1) NOT NULL, l_shipdate date NOT NULL,
  l_commitdate date NOT NULL, l_receiptdate date NOT NULL, l_shipinstruct char(25) NOT NULL, l_shipmode char(10) NOT NULL,
  l_comment varchar(44) NOT NULL`;

/** Words from which comments are made, 10 to 43 characters long. */
const WORDS =
  "ARRAY['furiously','carefully','quickly','slyly','blithely','final','regular','express','pending','ironic','deposits','requests','accounts','packages','foxes','instructions','sleep','nag','haggle','wake','across','above','along','the']";

/** Pseudo-random, and the same every time: the row's number through a hash. */
const pick = (salt, range) => `(abs(hashint8(i * 1000 + ${salt})::bigint) % ${range})`;

const list = (salt, words) => `(ARRAY[${words.map((word) => `'${word}'`)}])[1 + ${pick(salt, words.length)}]`;

export const LINEITEM = {
  create: `CREATE TABLE lineitem (${COLUMNS}, PRIMARY KEY (l_orderkey, l_linenumber))`,
  columns: COLUMNS,
  key: "PRIMARY KEY (l_orderkey, l_linenumber)",
  /** Rows `from` to `to`, four lines to an order. */
  insert: (table, from, to) => `INSERT INTO ${table}
    SELECT (i / 4) * 4 + 1, 1 + ${pick(1, 200000)}, 1 + ${pick(2, 10000)}, 1 + i % 4,
      quantity, round(quantity * (900 + ${pick(3, 100000)} / 100.0), 2), ${pick(4, 11)} / 100.0, ${pick(5, 9)} / 100.0,
      CASE WHEN shipped > date '1995-06-17' THEN 'N' WHEN ${pick(6, 2)} = 0 THEN 'R' ELSE 'A' END,
      CASE WHEN shipped > date '1995-06-17' THEN 'O' ELSE 'F' END,
      shipped, shipped - 30 + ${pick(7, 60)}::integer, shipped + 1 + ${pick(8, 30)}::integer,
      ${list(9, ["DELIVER IN PERSON", "COLLECT COD", "NONE", "TAKE BACK RETURN"])},
      ${list(10, ["REG AIR", "AIR", "RAIL", "SHIP", "TRUCK", "MAIL", "FOB"])},
      left(concat_ws(' ', words[1 + ${pick(11, 24)}], words[1 + ${pick(12, 24)}], words[1 + ${pick(13, 24)}], words[1 + ${pick(14, 24)}]),
        10 + ${pick(15, 34)}::integer)
    FROM (SELECT i, 1 + ${pick(16, 50)} AS quantity, date '1992-01-02' + ${pick(17, 2526)}::integer AS shipped, ${WORDS} AS words
      FROM generate_series(${from}::bigint, ${to}::bigint) i) rows`,
};
