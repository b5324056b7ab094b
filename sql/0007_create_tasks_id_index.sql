-- Why: administrators reach a task by its id alone.
-- Safe while the old code serves: yes, an index; it blocks writes while it is built.
-- serves SELECT_OWNERS in queries/tasks.py
CREATE INDEX tasks_id ON tasks (id);
-- serves SELECT_PAGE_ANY_OWNER in queries/tasks.py
CREATE INDEX tasks_created ON tasks (created_at, user_id, id);
