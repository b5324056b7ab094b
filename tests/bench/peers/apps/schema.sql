-- The table of the peers: the columns of our tasks that their API shows, and the index that their list needs.
CREATE TABLE tasks (
    id           uuid        PRIMARY KEY,
    user_id      text        NOT NULL,
    title        text        NOT NULL,
    description  text,
    status       text        NOT NULL DEFAULT 'TODO',
    priority     text        NOT NULL DEFAULT 'MEDIUM',
    due_date     timestamptz,
    tags         text[]      NOT NULL DEFAULT '{}',
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    completed_at timestamptz
);
CREATE INDEX tasks_user_created ON tasks (user_id, created_at);
