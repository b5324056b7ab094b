-- Why: a user sees their sessions, each with its beginning, its last use and its browser, and ends those of others.
-- Safe while the old code serves: yes; sessions that it begins have no browser, and older ones begin with this migration.
ALTER TABLE refresh_tokens ADD COLUMN created_at timestamptz NOT NULL DEFAULT now();
ALTER TABLE refresh_tokens ADD COLUMN user_agent text;   -- of the sign-in, so in the first row of a family
