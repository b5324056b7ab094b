-- Why: account deletion and lists of users read every user; now each reads what it needs.
-- Safe while the old code serves: yes, but writes to users wait while the indexes are built, some seconds a million rows.
-- serves lists of users (queries/user_lists.py)
CREATE INDEX IF NOT EXISTS users_created ON users (created_at, id);
-- serves lists of administrators, and their lock (LOCK_ADMINS_WITH in queries/users.py)
CREATE INDEX IF NOT EXISTS users_admins ON users (created_at, id) WHERE role = 'admin';
-- serves lists of inactive users, and the feed of revocations
DROP INDEX users_inactive;
CREATE INDEX users_inactive ON users (created_at, id) WHERE NOT is_active;
