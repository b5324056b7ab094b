-- Why: letter case is folded as Unicode does, whatever the locale of the database; with LC_CTYPE=C it folded ASCII alone.
-- Safe while the old code serves: yes, it does not use the collation.
-- A backup holds tables alone, so bin/restore runs this file again.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_collation WHERE collname = 'und-x-icu' AND collencoding IN (-1, 6)) THEN
        CREATE COLLATION IF NOT EXISTS unicode_text FROM "und-x-icu";
    ELSIF EXISTS (SELECT FROM pg_collation WHERE collname = 'pg_unicode_fast' AND collencoding IN (-1, 6)) THEN
        CREATE COLLATION IF NOT EXISTS unicode_text FROM pg_unicode_fast;
    ELSE
        RAISE EXCEPTION 'this PostgreSQL knows no letter case of Unicode: it needs ICU (pg_collation has und-x-icu), or version 18';
    END IF;
END
$$;
