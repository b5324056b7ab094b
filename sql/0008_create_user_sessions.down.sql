DO $$
BEGIN
    IF obj_description(to_regclass('user_sessions'), 'pg_class') = 'made by todo-service' THEN
        DROP TABLE user_sessions;
    END IF;
END $$;
