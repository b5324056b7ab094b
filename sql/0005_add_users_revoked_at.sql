-- Why: the revocation feed. Each event after which access tokens no longer hold is stamped here and read by every worker.
-- Safe while the old code serves: yes, a new column without a default.
ALTER TABLE users ADD COLUMN revoked_at timestamptz;
-- serves the feed (SELECT_REVOKED in queries/users.py): only the users of recent events are in it
CREATE INDEX users_revoked ON users (revoked_at) WHERE revoked_at IS NOT NULL;
