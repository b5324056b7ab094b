DROP INDEX tasks_user_updated, tasks_user_priority, tasks_user_title, tasks_user_due, tasks_user_due_last;
