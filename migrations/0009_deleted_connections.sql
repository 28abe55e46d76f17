-- Connections that were deleted, until their objects are asked once more to forget them: whoever had read a connection just
-- before may open a run just after, and die before taking it back. Times are INTEGER microseconds since the Unix epoch.

CREATE TABLE deleted_connections (
  id TEXT PRIMARY KEY,
  deleted_at INTEGER NOT NULL
) WITHOUT ROWID;
