-- As connections.config_mark: what stands for a destination's configuration once it was sealed anew under another key.
ALTER TABLE destinations ADD COLUMN config_mark TEXT;
