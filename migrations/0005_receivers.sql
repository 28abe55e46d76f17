-- Who is told what happens (webhooks, external log services), what they are still to be told, and definitions that are
-- kept as documents. Times are INTEGER microseconds since the Unix epoch, UTC; *_sealed is AES-256-GCM (invariant I6).

CREATE TABLE receivers (
  id TEXT PRIMARY KEY,                  -- of a log service: the id of its group or account, so there is one of each
  account_id TEXT NOT NULL REFERENCES accounts(id),
  group_id TEXT REFERENCES groups(id) ON DELETE CASCADE,  -- NULL: everything in the account
  service TEXT NOT NULL,                -- webhook, or Fivetran's name of the log service
  config_public TEXT NOT NULL,          -- JSON, secrets replaced by ******
  config_sealed TEXT NOT NULL,          -- JSON with secrets
  events TEXT NOT NULL,                 -- JSON array of names; empty: all
  active INTEGER NOT NULL,
  created_by TEXT,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
);
CREATE INDEX receivers_listed ON receivers (created_at, id);

-- The outbox, and afterwards the delivery log. Self-contained, because the deletion of a connection is told as well.
CREATE TABLE deliveries (
  id TEXT PRIMARY KEY,                  -- log event, a dot, receiver: the same however often the event is written
  receiver_id TEXT NOT NULL REFERENCES receivers(id) ON DELETE CASCADE,
  event TEXT NOT NULL,
  level TEXT NOT NULL,
  data TEXT NOT NULL,                   -- JSON
  occurred_at INTEGER NOT NULL,
  connection_id TEXT NOT NULL,
  connection_name TEXT NOT NULL,
  connector_type TEXT NOT NULL,
  group_id TEXT NOT NULL,
  run_id TEXT,
  state TEXT NOT NULL DEFAULT 'pending',  -- pending, delivered, failed
  attempts INTEGER NOT NULL DEFAULT 0,
  first_attempt_at INTEGER,
  last_attempt_at INTEGER,
  next_attempt_at INTEGER,              -- NULL: never again
  response_status INTEGER,
  error TEXT
);
CREATE INDEX deliveries_due ON deliveries (next_attempt_at) WHERE next_attempt_at IS NOT NULL;
CREATE INDEX deliveries_of_receiver ON deliveries (receiver_id, occurred_at, id);
CREATE INDEX deliveries_done ON deliveries (last_attempt_at) WHERE next_attempt_at IS NULL;

-- The transactional outbox: an event and what is to be told of it are one statement, so no writer of events can forget
-- it and no crash can come between. A trigger and not code, because events are written by several repositories.
CREATE TRIGGER log_events_told AFTER INSERT ON log_events BEGIN
  INSERT INTO deliveries (id, receiver_id, event, level, data, occurred_at, connection_id, connection_name,
    connector_type, group_id, run_id, next_attempt_at)
  SELECT NEW.id || '.' || r.id, r.id, NEW.event, NEW.level, NEW.data, NEW.created_at, c.id, c.schema_name, c.service,
    c.group_id, NEW.run_id, NEW.created_at
  FROM connections AS c
  JOIN groups AS g ON g.id = c.group_id
  JOIN receivers AS r ON r.account_id = g.account_id AND (r.group_id IS NULL OR r.group_id = g.id)
  WHERE c.id = NEW.connection_id AND r.active = 1
    AND (r.events = '[]' OR EXISTS (SELECT 1 FROM json_each(r.events) AS wanted WHERE wanted.value = NEW.event));
END;

-- Documents the engine does not read: transformation projects and transformations.
CREATE TABLE definitions (
  id TEXT PRIMARY KEY,
  kind TEXT NOT NULL,
  group_id TEXT NOT NULL REFERENCES groups(id) ON DELETE CASCADE,
  body_sealed TEXT NOT NULL,            -- JSON; sealed whole, because environment variables of dbt hold passwords
  created_by TEXT,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
);
CREATE INDEX definitions_listed ON definitions (kind, created_at, id);
