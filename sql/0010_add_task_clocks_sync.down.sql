ALTER TABLE task_clocks DROP COLUMN epoch, DROP COLUMN sync_floor;
