DROP INDEX users_inactive;
CREATE INDEX users_inactive ON users (id) WHERE NOT is_active;
DROP INDEX users_admins;
DROP INDEX users_created;
