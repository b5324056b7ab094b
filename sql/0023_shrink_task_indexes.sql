-- Why: the indexes of tasks took 500 bytes a task, much of it for ids twice, and each change of a task writes to them all.
-- Safe while the old code serves: yes, but requests for tasks wait while the indexes are built, about 5 s a million
-- tasks. Those of these names that were built before, CONCURRENTLY, are taken.
-- serves reading and writing one task, of a user or by its id alone (queries/tasks.py)
CREATE UNIQUE INDEX IF NOT EXISTS tasks_id_user ON tasks (id, user_id);
ALTER TABLE tasks DROP CONSTRAINT tasks_pkey;
ALTER TABLE tasks ADD CONSTRAINT tasks_pkey PRIMARY KEY USING INDEX tasks_id_user;
DROP INDEX tasks_id;
-- serves the list of all users' tasks (queries/all_tasks.py)
CREATE INDEX IF NOT EXISTS tasks_moment ON tasks (created_at);
DROP INDEX tasks_created;
