-- Why: every change of a task can be seen and taken back; deletions, which clients of delta sync need, are among them.
-- Safe while the old code serves: yes, it finds and leaves its tombstones in a view; its bin/purge fails meanwhile.
CREATE TABLE task_changes (
    user_id      text        NOT NULL,
    version      bigint      NOT NULL,
    task_id      uuid        NOT NULL,
    changed_at   timestamptz NOT NULL,
    operation    text        NOT NULL DEFAULT 'delete',
    deletes      boolean     NOT NULL DEFAULT true,   -- whether the task is gone after it
    actor_id     text,                                -- null for the owner
    source       text,                                -- the session or personal token, or a word for another credential
    request_id   text,
    previous     bigint,                              -- the version of the task's change before this one
    -- the task as it was before; null if it was not there, and in a deletion of which only the fact is kept
    title        text,
    description  text,
    status       text,
    priority     text,
    due_at       timestamptz,
    due_on       date,
    tags         text[],
    created_at   timestamptz,
    updated_at   timestamptz,
    completed_at timestamptz,
    -- serves delta sync, the history of a task, and undo
    CONSTRAINT task_changes_pkey PRIMARY KEY (user_id, version),
    CONSTRAINT task_changes_clock_fkey FOREIGN KEY (user_id) REFERENCES task_clocks (user_id) ON DELETE CASCADE,
    CONSTRAINT task_changes_operation_known
        CHECK (operation IN ('create', 'update', 'complete', 'delete', 'import', 'restore', 'undo'))
);
LOCK TABLE task_tombstones IN ACCESS EXCLUSIVE MODE;
INSERT INTO task_changes (user_id, version, task_id, changed_at)
SELECT user_id, version, id, deleted_at FROM task_tombstones;
-- serves delta sync (SELECT_PAGE in queries/changes.py) and the trash (SELECT_TRASH in queries/task_changes.py)
CREATE INDEX task_changes_deletions ON task_changes (user_id, version) WHERE deletes;
-- serves the restoration of one task, and the trash (queries/task_changes.py)
CREATE INDEX task_changes_deleted_tasks ON task_changes (user_id, task_id, version) WHERE deletes;
-- serves bin/purge (queries/expired_changes.py)
CREATE INDEX task_changes_changed ON task_changes (changed_at);
DO $$
DECLARE
    condition text := (
        SELECT pg_get_expr(polqual, polrelid) FROM pg_policy
        WHERE polrelid = 'task_tombstones'::regclass AND polname = 'todo_owner'
    );
BEGIN
    IF condition IS NOT NULL THEN
        EXECUTE format('CREATE POLICY todo_owner ON task_changes USING (%s)', condition);
        ALTER TABLE task_changes ENABLE ROW LEVEL SECURITY;
    END IF;
END
$$;
DROP TABLE task_tombstones;
-- For the old code; a later release drops it.
CREATE VIEW task_tombstones AS
SELECT user_id, version, task_id AS id, changed_at AS deleted_at FROM task_changes WHERE deletes;
