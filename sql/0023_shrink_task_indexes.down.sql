CREATE INDEX tasks_created ON tasks (created_at, user_id, id);
DROP INDEX tasks_moment;
CREATE INDEX tasks_id ON tasks (id);
ALTER TABLE tasks DROP CONSTRAINT tasks_pkey;
ALTER TABLE tasks ADD CONSTRAINT tasks_pkey PRIMARY KEY (user_id, id);
