-- Why: who did what to whom and when, kept when the account itself is gone.
-- Safe while the old code serves: yes, a new table.
CREATE TABLE audit_log (
    id         bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
    at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    action     text        NOT NULL,
    actor_id   text        NOT NULL,
    subject_id text        NOT NULL,
    request_id text        NOT NULL,
    detail     text        NOT NULL,   -- what exactly, in words: "role user -> admin"
    CONSTRAINT audit_log_pkey PRIMARY KEY (id)
);
-- serves the revocation feed: accounts deleted lately (SELECT_REVOKED in queries/users.py)
CREATE INDEX audit_log_deleted ON audit_log (at) WHERE action = 'account_deleted';
