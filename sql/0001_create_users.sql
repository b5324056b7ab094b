-- Why: whoever owns tasks has one row here. Accounts made here have an email_key and a password hash.
-- Safe while the old code serves: yes, a new table.
CREATE TABLE users (
    id            text        NOT NULL,
    email         text,
    email_key     text,       -- the email as compared (NFKC, case folded); only password accounts have one
    password_hash text,
    full_name     text,
    role          text        NOT NULL DEFAULT 'user',
    is_active     boolean     NOT NULL DEFAULT true,
    generation    integer     NOT NULL DEFAULT 1,    -- access tokens of a lower one no longer hold
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT users_pkey PRIMARY KEY (id),
    -- serves the sign-in (queries/users.py SELECT_BY_EMAIL_KEY) and lets one of many registrations win
    CONSTRAINT users_email_key_unique UNIQUE (email_key),
    CONSTRAINT users_id_length CHECK (char_length(id) BETWEEN 1 AND 255),
    CONSTRAINT users_full_name_length CHECK (char_length(full_name) <= 255),
    CONSTRAINT users_role_known CHECK (role IN ('user', 'admin')),
    CONSTRAINT users_password_account CHECK ((email_key IS NULL) = (password_hash IS NULL))
);
