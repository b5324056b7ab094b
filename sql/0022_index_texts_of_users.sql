-- Why: administrators search all users by a part of email or name, which read every user.
-- Safe while the old code serves: yes, but writes to users wait while the index is built, about 10 s a million rows.
-- Without pg_trgm (contrib), or the right to add it to the database, the search goes on without an index.
DO $$
BEGIN
    CREATE EXTENSION IF NOT EXISTS pg_trgm;
    -- serves SEARCH_ALL in queries/user_lists.py; the expression is `folded` of queries/text.py
    CREATE INDEX IF NOT EXISTS users_texts ON users USING gin (
        (CASE WHEN octet_length(email) = length(email) THEN upper(email COLLATE "C") COLLATE "C"
            ELSE upper(lower((CASE WHEN email IS NFC NORMALIZED THEN email ELSE normalize(email, NFC) END)
                COLLATE unicode_text)) COLLATE "C" END) gin_trgm_ops,
        (CASE WHEN octet_length(full_name) = length(full_name) THEN upper(full_name COLLATE "C") COLLATE "C"
            ELSE upper(lower((CASE WHEN full_name IS NFC NORMALIZED THEN full_name ELSE normalize(full_name, NFC) END)
                COLLATE unicode_text)) COLLATE "C" END) gin_trgm_ops
    );
EXCEPTION
    WHEN insufficient_privilege OR undefined_file OR feature_not_supported THEN
        RAISE NOTICE 'pg_trgm is not there (%): searches of users read all of them', sqlerrm;
END
$$;
