DROP VIEW task_tombstones;
CREATE TABLE task_tombstones (
    user_id    text        NOT NULL,
    version    bigint      NOT NULL,
    id         uuid        NOT NULL,
    deleted_at timestamptz NOT NULL,
    CONSTRAINT task_tombstones_pkey PRIMARY KEY (user_id, version),
    CONSTRAINT task_tombstones_clock_fkey FOREIGN KEY (user_id) REFERENCES task_clocks (user_id) ON DELETE CASCADE
);
INSERT INTO task_tombstones (user_id, version, id, deleted_at)
SELECT user_id, version, task_id, changed_at FROM task_changes WHERE deletes;
CREATE INDEX task_tombstones_deleted ON task_tombstones (deleted_at);
DO $$
DECLARE
    condition text := (
        SELECT pg_get_expr(polqual, polrelid) FROM pg_policy
        WHERE polrelid = 'task_changes'::regclass AND polname = 'todo_owner'
    );
BEGIN
    IF condition IS NOT NULL THEN
        EXECUTE format('CREATE POLICY todo_owner ON task_tombstones USING (%s)', condition);
        ALTER TABLE task_tombstones ENABLE ROW LEVEL SECURITY;
    END IF;
END
$$;
DROP TABLE task_changes;
