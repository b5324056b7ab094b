DROP INDEX IF EXISTS users_texts;
