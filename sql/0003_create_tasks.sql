-- Why: the tasks themselves, keyed by their owner so that every statement names the user.
-- Safe while the old code serves: yes, a new table.
CREATE TABLE tasks (
    user_id      text        NOT NULL,
    id           uuid        NOT NULL,
    title        text        NOT NULL,
    description  text,
    status       text        NOT NULL,
    priority     text        NOT NULL,
    due_at       timestamptz,   -- due at a moment, or
    due_on       date,          -- due on a whole day, or neither
    tags         text[]      NOT NULL,
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL,
    completed_at timestamptz,
    version      bigint      NOT NULL,
    -- serves reading and writing one task (SELECT, UPDATE, DELETE in queries/tasks.py)
    CONSTRAINT tasks_pkey PRIMARY KEY (user_id, id),
    -- to the clock and not to users: the clock row is locked by every write already, so the check costs no second lock
    CONSTRAINT tasks_clock_fkey FOREIGN KEY (user_id) REFERENCES task_clocks (user_id) ON DELETE CASCADE,
    CONSTRAINT tasks_title_length CHECK (char_length(title) BETWEEN 1 AND 255),
    CONSTRAINT tasks_description_length CHECK (char_length(description) <= 5000),
    CONSTRAINT tasks_status_known CHECK (status IN ('TODO', 'IN_PROGRESS', 'COMPLETED')),
    CONSTRAINT tasks_priority_known CHECK (priority IN ('URGENT', 'HIGH', 'MEDIUM', 'LOW')),
    CONSTRAINT tasks_due_once CHECK (num_nonnulls(due_at, due_on) <= 1),
    CONSTRAINT tasks_due_at_range CHECK (due_at >= '1970-01-01Z' AND due_at < '9999-01-01Z'),
    CONSTRAINT tasks_due_on_range CHECK (due_on >= '1970-01-01' AND due_on < '9999-01-01'),
    CONSTRAINT tasks_tags_count CHECK (cardinality(tags) <= 20),
    CONSTRAINT tasks_completed_at_agrees CHECK ((status = 'COMPLETED') = (completed_at IS NOT NULL))
);
-- serves the list, newest first (SELECT_PAGE in queries/tasks.py)
CREATE INDEX tasks_user_created ON tasks (user_id, created_at, id);
