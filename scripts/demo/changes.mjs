// What happens at the demo's source between syncs.

/** Updates and inserts a few rows, and says how many. */
export async function changeRows({ query }) {
  const updated =
    (await affected(query, "UPDATE flights SET delay_minutes = coalesce(delay_minutes, 0) + 5 WHERE id % 500 = 0 RETURNING 1")) +
    (await affected(query, "UPDATE airports SET name = name || ' International' WHERE iata IN ('LAX', 'ORD', 'ATL') RETURNING 1"));
  const inserted =
    (await affected(
      query,
      `INSERT INTO flights (departed_at, delay_minutes, distance_miles, origin, destination)
       SELECT departed_at + interval '1 year', NULL, distance_miles, destination, origin
       FROM flights WHERE id % 1000 = 7 RETURNING 1`,
    )) +
    (await affected(
      query,
      `INSERT INTO airports (iata, name, city, state, country, latitude, longitude)
       VALUES ('ZZ1', 'Köln/Bonn', 'Köln', NULL, 'Germany', 50.8658783, 7.1427439) RETURNING 1`,
    ));
  return { updated, inserted };
}

/** Deletes a few rows, and says how many. */
export async function deleteRows({ query }) {
  return (
    (await affected(query, "DELETE FROM flights WHERE id % 1000 = 3 RETURNING 1")) +
    (await affected(query, "DELETE FROM airports WHERE iata = 'ZZ1' RETURNING 1"))
  );
}

async function affected(query, sql) {
  const [{ count }] = await query(`WITH affected AS (${sql}) SELECT count(*) AS count FROM affected`);
  return Number(count);
}
