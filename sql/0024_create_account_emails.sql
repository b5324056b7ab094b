-- Why: users and refresh tokens can be spread over several servers by user; emails stay unique in a table of their own.
-- Safe while the old code serves: yes; a trigger writes its registrations. Writes to users wait while it is filled.
CREATE TABLE account_emails (
    email_key text NOT NULL,   -- as in users
    user_id   text NOT NULL,
    -- serves the sign-in (SELECT in queries/account_emails.py) and lets one of many registrations win
    CONSTRAINT account_emails_pkey PRIMARY KEY (email_key)
);
LOCK TABLE users IN SHARE ROW EXCLUSIVE MODE;
INSERT INTO account_emails (email_key, user_id) SELECT email_key, id FROM users WHERE email_key IS NOT NULL;
-- a foreign key would not do where the two tables are spread by different columns, nor for what the old code inserts
CREATE OR REPLACE FUNCTION keep_account_emails() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF tg_op = 'INSERT' AND new.email_key IS NOT NULL THEN
        INSERT INTO account_emails (email_key, user_id) VALUES (new.email_key, new.id) ON CONFLICT DO NOTHING;
    ELSIF tg_op = 'DELETE' THEN
        DELETE FROM account_emails WHERE email_key = old.email_key AND user_id = old.id;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER users_keep_account_emails AFTER INSERT OR DELETE ON users
    FOR EACH ROW EXECUTE FUNCTION keep_account_emails();
-- serves the rotation (ROTATE in queries/refresh_tokens.py), and tokens that do not name their user
CREATE UNIQUE INDEX IF NOT EXISTS refresh_tokens_hash_user ON refresh_tokens (token_hash, user_id);
ALTER TABLE refresh_tokens DROP CONSTRAINT refresh_tokens_pkey;
ALTER TABLE refresh_tokens ADD CONSTRAINT refresh_tokens_pkey PRIMARY KEY USING INDEX refresh_tokens_hash_user;
