DROP INDEX tasks_created;
DROP INDEX tasks_id;
