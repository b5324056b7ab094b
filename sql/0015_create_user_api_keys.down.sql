DROP TABLE user_api_keys;
