-- Counts edits of the schema settings by hand, in the transaction that stores them. A run keeps the count it was planned
-- under and stops when it finds another: an edit must not depend on somebody coming to tell the run of it.
ALTER TABLE connections ADD COLUMN settings_edits INTEGER NOT NULL DEFAULT 0;
