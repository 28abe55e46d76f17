-- Whether an approval is what makes a certificate trusted: no public authority vouches for it. Those approved before this
-- version all had one.

ALTER TABLE certificates ADD COLUMN private INTEGER NOT NULL DEFAULT 0;
