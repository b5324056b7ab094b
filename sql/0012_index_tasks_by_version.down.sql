DROP INDEX tasks_user_version;
