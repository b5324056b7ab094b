DROP COLLATION unicode_text;
