DROP INDEX audit_log_subject;
DROP INDEX audit_log_actor;
ALTER TABLE audit_log DROP COLUMN seal;
ALTER TABLE audit_log DROP COLUMN sequence;
ALTER TABLE audit_log DROP COLUMN address;
