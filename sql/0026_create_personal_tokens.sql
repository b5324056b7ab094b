-- Why: tokens that a user makes for a script or an agent, limited by scopes; each is kept as its SHA-256 alone.
-- Safe while the old code serves: yes, a new table; the old code refuses such tokens.
CREATE TABLE personal_tokens (
    user_id      text        NOT NULL,
    id           uuid        NOT NULL,
    token_hash   bytea       NOT NULL,
    name         text        NOT NULL,
    scopes       text[]      NOT NULL,
    is_strict    boolean     NOT NULL,
    last_four    text        NOT NULL,   -- shown in lists, so that its owner knows it again
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz NOT NULL,
    last_used_at timestamptz,            -- exact to a minute: workers write it twice a minute
    CONSTRAINT personal_tokens_pkey PRIMARY KEY (user_id, id),
    CONSTRAINT personal_tokens_user_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT personal_tokens_hash_length CHECK (octet_length(token_hash) = 32),
    CONSTRAINT personal_tokens_name_length CHECK (char_length(name) BETWEEN 1 AND 255)
);
-- serves the first use of a token in a process (SELECT_BY_HASH in queries/personal_tokens.py)
CREATE INDEX personal_tokens_hash ON personal_tokens (token_hash);
-- serves bin/purge (DELETE_EXPIRED)
CREATE INDEX personal_tokens_expires ON personal_tokens (expires_at);
