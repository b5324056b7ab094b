-- Why: delta sync reads what has changed since a version, in the order of the changes.
-- Safe while the old code serves: yes, an index; it blocks writes while it is built.
-- serves delta sync (SELECT_PAGE in queries/changes.py)
CREATE INDEX tasks_user_version ON tasks (user_id, version);
