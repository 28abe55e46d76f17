-- The source's own count of the rows of a run (invariant I5); NULL where it does not count.
ALTER TABLE sync_runs ADD COLUMN source_rows INTEGER;
ALTER TABLE run_tables ADD COLUMN source_rows INTEGER;

-- What hashed columns of the destination are salted with: 32 random bytes, AES-256-GCM (invariant I6). NULL until the
-- first hashed column is synced.
ALTER TABLE destinations ADD COLUMN hash_salt_sealed TEXT;
