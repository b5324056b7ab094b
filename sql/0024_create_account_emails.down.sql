ALTER TABLE refresh_tokens DROP CONSTRAINT refresh_tokens_pkey;
ALTER TABLE refresh_tokens ADD CONSTRAINT refresh_tokens_pkey PRIMARY KEY (token_hash);
DROP TRIGGER users_keep_account_emails ON users;
DROP FUNCTION keep_account_emails;
DROP TABLE account_emails;
