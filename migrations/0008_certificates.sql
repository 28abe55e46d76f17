-- Certificates that a person approved for the source of a connection. Times are INTEGER microseconds since the Unix epoch.

CREATE TABLE certificates (
  connection_id TEXT NOT NULL REFERENCES connections(id) ON DELETE CASCADE,
  hash TEXT NOT NULL,                   -- as the client wrote it, which is how it asks for it again
  der TEXT NOT NULL,                    -- the certificate, base64
  validated_by TEXT NOT NULL,           -- user or key
  validated_at INTEGER NOT NULL,
  PRIMARY KEY (connection_id, hash)
) WITHOUT ROWID;
