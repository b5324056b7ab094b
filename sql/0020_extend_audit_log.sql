-- Why: an entry has the client's address, and entries are chained by seals, so that a changed or missing one is noticed.
-- Safe while the old code serves: yes, new columns without a default; its entries have no address and are sealed later.
ALTER TABLE audit_log ADD COLUMN address text;
ALTER TABLE audit_log ADD COLUMN sequence bigint;
ALTER TABLE audit_log ADD COLUMN seal bytea;
-- serves sealing, verification and the purge, which all go along the chain (queries/audit_log.py)
CREATE INDEX audit_log_chain ON audit_log (sequence, id);
-- serve the lists of administrators by actor and by subject
CREATE INDEX audit_log_actor ON audit_log (actor_id, id);
CREATE INDEX audit_log_subject ON audit_log (subject_id, id);
