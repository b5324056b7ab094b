-- Why: session tokens of an auth server are looked up here. Its table is left as it is; only where there is none it is made.
-- Safe while the old code serves: yes, a new table.
DO $$
BEGIN
    IF to_regclass('user_sessions') IS NULL THEN
        CREATE TABLE user_sessions (
            id          text        NOT NULL,
            token       text        NOT NULL,
            "userId"    text        NOT NULL,
            "expiresAt" timestamptz NOT NULL,
            CONSTRAINT user_sessions_pkey PRIMARY KEY (id),
            -- serves every request that comes with a session token (SELECT_USER in queries/sessions.py)
            CONSTRAINT user_sessions_token_unique UNIQUE (token)
        );
        -- the way back drops the table by this mark alone
        COMMENT ON TABLE user_sessions IS 'made by todo-service';
    END IF;
END $$;
