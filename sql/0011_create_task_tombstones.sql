-- Why: a client that follows the changes must learn of deletions, though the task is gone.
-- Safe while the old code serves: yes, a new table; but the old code leaves no tombstones: run bin/new-epoch when it has ended.
CREATE TABLE task_tombstones (
    user_id    text        NOT NULL,
    version    bigint      NOT NULL,
    id         uuid        NOT NULL,
    deleted_at timestamptz NOT NULL,
    -- serves delta sync (SELECT_PAGE in queries/changes.py)
    CONSTRAINT task_tombstones_pkey PRIMARY KEY (user_id, version),
    CONSTRAINT task_tombstones_clock_fkey FOREIGN KEY (user_id) REFERENCES task_clocks (user_id) ON DELETE CASCADE
);
-- serves bin/purge (DELETE_EXPIRED in queries/tombstones.py)
CREATE INDEX task_tombstones_deleted ON task_tombstones (deleted_at);
