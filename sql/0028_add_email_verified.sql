-- Why: whether the user of an account has shown that its email address is theirs, by a link that was sent there.
-- Safe while the old code serves: yes, a new column with a constant default.
ALTER TABLE users ADD COLUMN email_verified boolean NOT NULL DEFAULT false;
