-- Which due time of a connection was put on the queue, and when, so that no sweep announces it twice while it waits there.
-- Not indexed: a sweep finds due connections by next_due_at, and each index would cost a further row written per start.
ALTER TABLE connections ADD COLUMN announced_due INTEGER;
ALTER TABLE connections ADD COLUMN announced_at INTEGER;

ALTER TABLE sync_runs ADD COLUMN retries INTEGER NOT NULL DEFAULT 0;
ALTER TABLE run_tables ADD COLUMN pace TEXT;  -- JSON: engine::sync_control::Pace

-- Sums over all ended runs, for /metrics: history is deleted after a while, counters never go back.
CREATE TABLE run_counters (
  state TEXT PRIMARY KEY,               -- how the runs ended
  runs INTEGER NOT NULL,
  rows_read INTEGER NOT NULL,
  rows_written INTEGER NOT NULL,
  rows_filtered INTEGER NOT NULL,
  rows_deleted INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  retries INTEGER NOT NULL              -- attempts at an order that failed and were made again
) WITHOUT ROWID;

INSERT INTO run_counters SELECT state, COUNT(*), SUM(rows_read), SUM(rows_written), SUM(rows_filtered),
  SUM(rows_deleted), SUM(bytes), 0 FROM sync_runs WHERE state <> 'RUNNING' GROUP BY state;
