-- Why: whoever is inactive must be known however long ago that happened, for credentials that others issue hold for long.
-- Safe while the old code serves: yes, an index; writes to users wait while it is made.
-- serves the whole reading of the feed (SELECT_REVOKED in queries/users.py)
CREATE INDEX users_inactive ON users (id) WHERE NOT is_active;
