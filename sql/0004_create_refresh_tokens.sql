-- Why: sessions. A refresh token is kept as its SHA-256 alone; a family is all tokens that descend from one sign-in.
-- Safe while the old code serves: yes, a new table.
CREATE TABLE refresh_tokens (
    token_hash bytea       NOT NULL,
    user_id    text        NOT NULL,
    family_id  uuid        NOT NULL,
    expires_at timestamptz NOT NULL,   -- the end of the whole family: rotation does not move it
    used_at    timestamptz,
    -- serves the rotation (ROTATE in queries/refresh_tokens.py)
    CONSTRAINT refresh_tokens_pkey PRIMARY KEY (token_hash),
    CONSTRAINT refresh_tokens_user_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT refresh_tokens_hash_length CHECK (octet_length(token_hash) = 32)
);
-- serves ending sessions: one (DELETE_FAMILY), all but one (DELETE_OTHERS), all (DELETE_ALL)
CREATE INDEX refresh_tokens_user_family ON refresh_tokens (user_id, family_id);
-- serves bin/purge (DELETE_EXPIRED)
CREATE INDEX refresh_tokens_expires ON refresh_tokens (expires_at);
