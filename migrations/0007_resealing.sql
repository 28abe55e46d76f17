-- What stands for a connection's configuration where runs are told apart by it, once it was sealed anew under another
-- key: live runs must not take that for a change. NULL: its sealing says it.
ALTER TABLE connections ADD COLUMN config_mark TEXT;
