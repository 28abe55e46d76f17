-- Who may do what: users, teams, memberships, and what a key stands for. All times are INTEGER microseconds since the
-- Unix epoch, UTC.

CREATE TABLE users (
  id TEXT PRIMARY KEY,
  account_id TEXT NOT NULL REFERENCES accounts(id),
  email TEXT NOT NULL,
  given_name TEXT NOT NULL,
  family_name TEXT NOT NULL,
  phone TEXT,
  picture TEXT,
  role TEXT,                            -- account role of core::roles; NULL: none
  active INTEGER NOT NULL DEFAULT 1,    -- 0: their key is refused
  invited INTEGER NOT NULL DEFAULT 1,   -- until their key is used for the first time, which verifies them
  created_at INTEGER NOT NULL
);
-- ASCII letters of an address count the same in either case, as everywhere in practice.
CREATE UNIQUE INDEX users_by_email ON users (account_id, email COLLATE NOCASE);
CREATE INDEX users_listed ON users (account_id, created_at, id);

CREATE TABLE teams (
  id TEXT PRIMARY KEY,
  account_id TEXT NOT NULL REFERENCES accounts(id),
  name TEXT NOT NULL,
  description TEXT,
  role TEXT,
  created_at INTEGER NOT NULL,
  UNIQUE (account_id, name)
);
CREATE INDEX teams_listed ON teams (account_id, created_at, id);

-- Roles of a user or a team in a group, a connection, or (users only) a team. One table, because all of them are the
-- same four statements; a subject or an object that goes takes its memberships with it (triggers below), since a column
-- that refers to one of several tables can have no foreign key.
CREATE TABLE memberships (
  subject_id TEXT NOT NULL,             -- user or team
  scope TEXT NOT NULL,                  -- DESTINATION, CONNECTOR, TEAM
  object_id TEXT NOT NULL,              -- group, connection or team
  role TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  PRIMARY KEY (subject_id, scope, object_id)
) WITHOUT ROWID;
CREATE INDEX memberships_of_object ON memberships (object_id, scope);

CREATE TRIGGER users_leave AFTER DELETE ON users BEGIN
  DELETE FROM memberships WHERE subject_id = OLD.id;
END;
CREATE TRIGGER teams_dissolve AFTER DELETE ON teams BEGIN
  DELETE FROM memberships WHERE subject_id = OLD.id OR (object_id = OLD.id AND scope = 'TEAM');
END;
CREATE TRIGGER groups_leave AFTER DELETE ON groups BEGIN
  DELETE FROM memberships WHERE object_id = OLD.id AND scope = 'DESTINATION';
END;
CREATE TRIGGER connections_leave AFTER DELETE ON connections BEGIN
  DELETE FROM memberships WHERE object_id = OLD.id AND scope = 'CONNECTOR';
END;

-- A key speaks for a user, with whatever that user may do, or is a system key with permissions of its own.
ALTER TABLE api_keys ADD COLUMN user_id TEXT REFERENCES users(id) ON DELETE CASCADE;
ALTER TABLE api_keys ADD COLUMN permissions TEXT;     -- JSON: core::access::Permission of a system key, else NULL
ALTER TABLE api_keys ADD COLUMN updated_at INTEGER;
ALTER TABLE api_keys ADD COLUMN expires_at INTEGER;   -- NULL: never
ALTER TABLE api_keys ADD COLUMN last_used_at INTEGER; -- to the hour
CREATE UNIQUE INDEX api_keys_of_user ON api_keys (user_id) WHERE user_id IS NOT NULL AND revoked_at IS NULL;
CREATE INDEX api_keys_listed ON api_keys (account_id, created_at, id);

-- Keys made before there were permissions could do everything, and go on doing so.
UPDATE api_keys SET permissions = '[' || (
  SELECT group_concat('{"resource_type":"' || value || '","access_level":"MANAGE"}')
  FROM json_each('["ACCOUNT","USER","WEBHOOK","TEAM","ROLES","DESTINATION","TRANSFORMATION","REMOTE_EXECUTION_AGENT","CONNECTOR"]')
) || ']';

-- The account of the deployment, and the owner, for whom the deployment's root key speaks.
INSERT OR IGNORE INTO accounts (id, name, created_at)
  VALUES ('account', 'fivetran.do', CAST(strftime('%s', 'now') AS INTEGER) * 1000000);
INSERT INTO users (id, account_id, email, given_name, family_name, role, invited, created_at)
  SELECT 'owner', id, 'owner@localhost', 'Account', 'Owner', 'Account Administrator', 0, created_at
  FROM accounts WHERE id = 'account';

-- What a POST with an Idempotency-Key was answered, for a day.
CREATE TABLE idempotent_answers (
  key_id TEXT NOT NULL,                 -- the API key that asked
  idempotency_key TEXT NOT NULL,
  request_sha256 TEXT NOT NULL,         -- of method, path, query and body
  claim TEXT NOT NULL,                  -- of the request that answers it
  answer_sealed TEXT,                   -- JSON {status, body}; sealed, as the body may hold a new key's secret; NULL: at work
  claimed_at INTEGER NOT NULL,
  PRIMARY KEY (key_id, idempotency_key)
) WITHOUT ROWID;
CREATE INDEX idempotent_answers_by_age ON idempotent_answers (claimed_at);
