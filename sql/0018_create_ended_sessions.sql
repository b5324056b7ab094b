-- Why: a session that ends by a sign-out or a stolen refresh token ends its access tokens too; every worker reads the rows.
-- Safe while the old code serves: yes, a new table. Tokens of a session that the old code ends are valid until they expire.
CREATE TABLE ended_sessions (
    user_id    text        NOT NULL,
    session_id uuid        NOT NULL,
    ended_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT ended_sessions_pkey PRIMARY KEY (user_id, session_id),
    CONSTRAINT ended_sessions_user_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE
);
-- serves the revocation feed and bin/purge (queries/revocations.py)
CREATE INDEX ended_sessions_ended ON ended_sessions (ended_at);
