-- Why: a request that is sent again under its Idempotency-Key gets the first answer and changes nothing.
-- Safe while the old code serves: yes, a new table.
CREATE TABLE idempotency_keys (
    user_id     text        NOT NULL,
    key         text        NOT NULL,
    fingerprint bytea       NOT NULL,   -- SHA-256 of method, path and body
    created_at  timestamptz NOT NULL,
    -- the answer; null only until the transaction that makes the row ends
    status      smallint,
    headers     json,
    body        bytea,
    -- serves every request with a key (CLAIM in queries/idempotency_keys.py)
    CONSTRAINT idempotency_keys_pkey PRIMARY KEY (user_id, key),
    CONSTRAINT idempotency_keys_user_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE
);
-- serves bin/purge (DELETE_EXPIRED in queries/idempotency_keys.py)
CREATE INDEX idempotency_keys_created ON idempotency_keys (created_at);
