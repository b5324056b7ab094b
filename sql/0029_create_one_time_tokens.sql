-- Why: links for a new password or an email address; each token is kept as its SHA-256 alone.
-- Safe while the old code serves: yes, a new table; a change of password by the old code voids the tokens too.
CREATE TABLE one_time_tokens (
    user_id    text        NOT NULL,
    token_hash bytea       NOT NULL,
    purpose    text        NOT NULL,
    basis      bytea       NOT NULL,   -- a digest of the email and the password hash: after a change of either it is void
    new_email  text,                   -- the address that a link of purpose email confirms
    expires_at timestamptz NOT NULL,
    CONSTRAINT one_time_tokens_pkey PRIMARY KEY (user_id, token_hash),
    CONSTRAINT one_time_tokens_user_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT one_time_tokens_hash_length CHECK (octet_length(token_hash) = 32),
    CONSTRAINT one_time_tokens_purpose_known CHECK (purpose IN ('password', 'email'))
);
-- serves the use of a link, which does not name its user (SELECT_USER in queries/one_time_tokens.py)
CREATE INDEX one_time_tokens_hash ON one_time_tokens (token_hash);
-- serves bin/purge (DELETE_EXPIRED)
CREATE INDEX one_time_tokens_expires ON one_time_tokens (expires_at);
