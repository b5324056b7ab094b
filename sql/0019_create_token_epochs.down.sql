DROP TABLE token_epochs;
