CREATE INDEX tasks_user_updated ON tasks (user_id, updated_at, id);
CREATE INDEX tasks_user_priority ON tasks (
    user_id, (CASE priority WHEN 'URGENT' THEN 1 WHEN 'HIGH' THEN 2 WHEN 'MEDIUM' THEN 3 ELSE 4 END), id
);
CREATE INDEX tasks_user_title ON tasks (user_id, (lower(title) COLLATE "C"), id);
-- two, because tasks without a due date come last in both directions
CREATE INDEX tasks_user_due ON tasks (
    user_id, (coalesce(due_at, due_on::timestamp AT TIME ZONE 'UTC', 'infinity')), id
);
CREATE INDEX tasks_user_due_last ON tasks (
    user_id, (coalesce(due_at, due_on::timestamp AT TIME ZONE 'UTC', '-infinity')), id
);
