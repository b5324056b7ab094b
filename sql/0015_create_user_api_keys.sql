-- Why: users' keys for AI providers, encrypted, for the services that act for them.
-- Safe while the old code serves: yes, a new table.
CREATE TABLE user_api_keys (
    user_id           text        NOT NULL,
    provider          text        NOT NULL,
    ciphertext        text        NOT NULL,   -- holds user and provider besides the key (auth/encryption.py)
    validation_status text        NOT NULL,   -- what the provider said of it
    last_validated_at timestamptz NOT NULL,   -- when that was
    created_at        timestamptz NOT NULL DEFAULT now(),
    updated_at        timestamptz NOT NULL DEFAULT now(),
    -- serves every request about a key, and the pages of bin/reencrypt
    CONSTRAINT user_api_keys_pkey PRIMARY KEY (user_id, provider),
    CONSTRAINT user_api_keys_user_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT user_api_keys_status_known CHECK (validation_status IN ('valid', 'quota_exceeded'))
);
