-- Why: the change counter of each user: every committed change to a task raises it by one in the same statement.
-- Safe while the old code serves: yes, a new table.
CREATE TABLE task_clocks (
    user_id    text   NOT NULL,
    version    bigint NOT NULL DEFAULT 0,
    task_count bigint NOT NULL DEFAULT 0,
    -- serves every statement on tasks: each begins by reading or raising the owner's clock
    CONSTRAINT task_clocks_pkey PRIMARY KEY (user_id),
    CONSTRAINT task_clocks_user_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT task_clocks_count_positive CHECK (task_count >= 0)
)
-- one row a user, rewritten at every change: room on the page keeps each update within it (HOT)
WITH (fillfactor = 50);
